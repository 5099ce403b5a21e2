// The event loop: readable descriptors, signals, one-shot timers. The only user of libuv.
//
// Callbacks only enqueue: what a callback learned becomes an event, and the engine takes events one at a
// time.
#pragma once

#include <base/error.hpp>
#include <core/ids.hpp>

#include <functional>
#include <memory>
#include <optional>

namespace handoff {

// Stops watching when destroyed. May be destroyed inside its own callback.
class watch {
 public:
  struct handle;
  watch() noexcept = default;
  explicit watch(handle* raw) noexcept : raw_(raw) {}
  watch(watch&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  watch& operator=(watch other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~watch();

  void reset() noexcept { *this = watch(); }
  explicit operator bool() const noexcept { return raw_ != nullptr; }

 private:
  friend class loop;
  handle* raw_ = nullptr;
};

enum class readiness_of_fd : unsigned { hung_up = 0, readable = 1, writable = 2, both = 3 };

class loop {
 public:
  static result<std::unique_ptr<loop>> create();
  ~loop();
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;

  // Calls `ready` while `fd` is readable (or writable; each time also broken or hung up). `fd` stays the
  // caller's and must stay open as long as the watch. Sets O_NONBLOCK on it, so never name a socket that is
  // passed to a service.
  result<watch> on_fd(int fd, readiness_of_fd what, std::function<void()> ready);

  // Calls `arrived` for each delivery of the signal.
  result<watch> on_signal(int signal_number, std::function<void()> arrived);

  // Calls `due` once, when the monotonic clock reaches `when`.
  result<watch> at(instant when, std::function<void()> due);

  // Calls `idle` after each round of callbacks, before the loop sleeps again.
  result<watch> before_sleep(std::function<void()> idle);

  void run();   // until stop()
  void turn();  // once, for what is there already; not from a callback
  void stop();  // may be called from a callback

  static instant now();

 private:
  struct state;
  explicit loop(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace handoff
