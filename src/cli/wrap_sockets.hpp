// The sockets that a running service listens at.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <string>
#include <vector>

namespace handoff::cli {

struct found_sockets {
  std::vector<listener_settings> listeners;  // without names; TCP by port, then Unix sockets by path
  std::vector<std::string> datagram;  // addresses of UDP sockets: whether clients know them, nobody can tell
};

// Of all processes in a cgroup (a path as systemd writes it, "/system.slice/nginx.service"). Needs root: it
// looks at copies of their descriptors, pidfd_getfd(2).
result<found_sockets> sockets_of_cgroup(std::string const& cgroup);

}  // namespace handoff::cli
