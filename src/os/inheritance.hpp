// What a successor gets from us: descriptors by name, and bytes. On purpose they travel through exec(2),
// where pid, children and sockets stay; after a death they come from a store, or from the processes that have
// copies (os/survivors).
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/listener.hpp>

#include <csignal>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// Descriptors that came from a predecessor, each to be taken once. What nobody takes is closed with this.
class inherited_descriptors {
 public:
  inherited_descriptors() = default;
  explicit inherited_descriptors(std::vector<named_descriptor> all);

  void add(std::string const& name, unique_fd fd) { by_name_.insert_or_assign(name, std::move(fd)); }
  bool has(std::string const& name) const { return by_name_.contains(name); }
  unique_fd take(std::string const& name);  // empty when there is none
  std::vector<std::string> names() const;

 private:
  std::map<std::string, unique_fd> by_name_;
};

// The socket's number in its network namespace, which names it for as long as it is open (SO_COOKIE,
// socket(7)); 0 for what is no socket.
std::uint64_t cookie_of(int fd);

// boot_id of random(4): moments on the monotonic clock mean something within one boot only. Empty when it
// cannot be read now.
std::string boot_id();

// Bytes in memory of their own, which nobody can change any more.
result<unique_fd> put_in_memory(std::string_view bytes);
// All bytes of a regular file or a memory, from its beginning.
result<std::string> read_all(int fd, std::size_t most);

// For as long as it lives, signals wait in the kernel: also across exec(2), until unblock_signals().
class blocked_signals {
 public:
  blocked_signals();
  ~blocked_signals();
  blocked_signals(blocked_signals const&) = delete;
  blocked_signals& operator=(blocked_signals const&) = delete;

 private:
  sigset_t before_;
};
void unblock_signals();

// Becomes another program: same pid, same children, with exactly `passed` beyond standard streams (all others
// are close-on-exec). Returns only when that failed, and nothing has changed then.
error become(int program, std::vector<std::string> const& arguments,
             std::vector<std::string> const& environment, std::span<int const> passed);

// Makes each of `passed` close-on-exec again, and closes every other descriptor above the standard streams.
void close_all_but(std::span<int const> passed);

}  // namespace handoff
