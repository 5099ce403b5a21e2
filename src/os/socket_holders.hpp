// Which processes hold a socket: by looking through /proc (proc(5)), so within bounds.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

struct holder_search {
  std::optional<pid_t> found;
  bool complete = true;  // false: there was more to look at than is looked at
};

// The first process with a descriptor of one of these sockets, among those that `is_asked` names. Other
// users' processes need root.
holder_search find_holder(std::vector<std::string> const& inodes, std::function<bool(pid_t)> const& is_asked);

// Whether one of those has a descriptor of the same socket as `fd`; yes when there is too much to look at.
bool is_held_by(std::function<bool(pid_t)> const& is_asked, int fd);

}  // namespace handoff
