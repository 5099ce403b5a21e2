// A service's own descriptors, kept for its next generation (systemd's FDSTORE, sd_pid_notify_with_fds(3)).
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/descriptor_disposer.hpp>
#include <os/hangup_watch.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// What the store drops when the other end is gone.
enum class store_polling { until_hangup, never };  // FDPOLL=1, the default; FDPOLL=0

enum class storing { stored, duplicate, full };

class fd_store {
 public:
  struct entry {
    std::uint64_t key = 0;  // unique, never used again
    std::string name;       // not unique
    int fd = -1;            // stays the store's
    store_polling polling = store_polling::until_hangup;
  };

  // Keeps at most `most` descriptors; 0 keeps none. `dispose` outlives the store. `dropped` is called after
  // one that hung up was.
  static result<std::unique_ptr<fd_store>> create(
      loop& on, descriptor_disposer& dispose, std::uint32_t most, std::function<void()> dropped = [] {});
  ~fd_store();  // everything left goes to the disposer
  fd_store(fd_store const&) = delete;
  fd_store& operator=(fd_store const&) = delete;

  // Takes `descriptor` and keeps it under `name`. What is the same open file as a kept one, or finds no room,
  // stays the caller's, to be disposed of together with others.
  storing add(std::string name, unique_fd& descriptor, store_polling polling);

  // For a successor, whose keys go on: the next one is not below `key`.
  std::uint64_t next_key() const { return next_key_; }
  void skip_keys_to(std::uint64_t key) { next_key_ = std::max(next_key_, key); }

  // Drops every descriptor of that name; returns how many.
  std::size_t remove(std::string_view name);

  // A new bound; what is kept beyond it stays, as systemd has it, but nothing more comes in.
  void set_most(std::uint32_t most) { most_ = most; }

  // What the next launch receives after its listeners, in the order of storing.
  std::vector<entry> entries() const;
  std::size_t size() const { return kept_.size(); }

 private:
  struct kept {
    std::uint64_t key = 0;
    std::string name;
    unique_fd fd;
    store_polling polling = store_polling::until_hangup;
  };

  fd_store(descriptor_disposer& dispose, std::uint32_t most, std::function<void()> dropped)
      : dispose_(dispose), most_(most), dropped_(std::move(dropped)) {}
  void hung_up(std::uint64_t key);

  descriptor_disposer& dispose_;
  std::uint32_t most_;
  std::function<void()> dropped_;
  std::uint64_t next_key_ = 0;
  std::vector<kept> kept_;
  std::unique_ptr<hangup_watch> watch_;
};

}  // namespace handoff
