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
  // `born` is told the pid of each child; the supervisor's general reaper collects it.
  explicit descriptor_disposer(std::function<void(pid_t)> born);
  ~descriptor_disposer();
  descriptor_disposer(descriptor_disposer const&) = delete;
  descriptor_disposer& operator=(descriptor_disposer const&) = delete;

  // Drops all of them with one child, or with none if they are only pipes, whose close never blocks. When no
  // child can be made they are kept, and go with the next call; an empty call tries again.
  void dispose(std::vector<unique_fd> descriptors);
  void dispose(unique_fd descriptor);

  // How many wait for a child.
  std::size_t waiting() const { return waiting_.size(); }

 private:
  std::function<void(pid_t)> born_;
  std::vector<unique_fd> waiting_;
};

}  // namespace handoff
