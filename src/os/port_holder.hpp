// Who holds an address that could not be bound: best effort, for the text of an error.
#pragma once

#include <os/socket_address.hpp>

#include <sys/types.h>

#include <optional>
#include <string>

namespace handoff {

struct port_holder {
  pid_t pid = 0;
  std::string program;  // its comm, printable
};

// A process with a descriptor of a socket bound to `address` or to one that shuts it out. Reads /proc
// (proc(5)), so it sees only this network namespace, needs root for other users' processes, and gives up
// after a bounded look.
std::optional<port_holder> find_port_holder(socket_address const& address, socket_type type);

// "held by nginx, pid 812", "held by another listener of this service".
std::string to_string(port_holder const& holder);

// The error of a bind() that found `address` taken: "Address already in use (held by nginx, pid 812)".
failure address_in_use(socket_address const& address, socket_type type);

}  // namespace handoff
