// The only owner of a file descriptor: move-only, explicit in both directions, the size of an int.
#pragma once

#include <unistd.h>

#include <utility>

namespace handoff {

class unique_fd {
 public:
  unique_fd() noexcept = default;
  explicit unique_fd(int raw) noexcept : raw_(raw) {}
  unique_fd(unique_fd&& other) noexcept : raw_(other.release()) {}
  unique_fd& operator=(unique_fd other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~unique_fd() {
    if (raw_ >= 0) ::close(raw_);
  }

  int get() const noexcept { return raw_; }
  int release() noexcept { return std::exchange(raw_, -1); }
  void reset() noexcept { *this = unique_fd(); }
  explicit operator bool() const noexcept { return raw_ >= 0; }

 private:
  int raw_ = -1;
};

}  // namespace handoff
