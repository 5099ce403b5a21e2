// Drops descriptors that a service gave us, without the risk of a close() that blocks.
//
// The last close of a socket with SO_LINGER and unsent data waits for seconds (socket(7)), one of a file may
// wait for a server. So a child is forked that holds the descriptors while we close ours; the last reference
// then goes with the child, whose exit stalls nobody.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace handoff {

class descriptor_disposer {
 public:
  static constexpr std::size_t most_children = 16;  // alive at once, see most_waiting
  // Descriptors kept for a child to end. With more than that one child is made too many: whoever sends
  // descriptors that never finish closing (a file whose server is stopped) then costs us a process for
  // hundreds of them, while keeping them would cost us every descriptor that we may have, and closing them
  // the loop. A quarter of the usual limit, and no fewer than one message brings, unix(7).
  static constexpr std::size_t most_waiting = 256;

  // `born` is told the pid of each child before it drops anything; the supervisor's general reaper collects
  // it.
  explicit descriptor_disposer(std::function<void(pid_t)> born);
  ~descriptor_disposer();  // what waits goes with a last child
  descriptor_disposer(descriptor_disposer const&) = delete;
  descriptor_disposer& operator=(descriptor_disposer const&) = delete;

  // Drops all of them with one child, or with none if they are only pipes, whose close never blocks. When no
  // child can be made, or enough are alive, they are kept, and go with the next one.
  void dispose(std::vector<unique_fd> descriptors);
  void dispose(unique_fd descriptor);

  // Makes a child for what waits, if there may be one. Call it right after the reaper, or a number may be
  // another child's before we forget it.
  void proceed();

  // How many wait for a child.
  std::size_t waiting() const { return waiting_.size(); }

 private:
  void hand_over();

  std::function<void(pid_t)> born_;
  std::vector<pid_t> children_;  // as far as we know alive
  std::vector<unique_fd> waiting_;
};

}  // namespace handoff
