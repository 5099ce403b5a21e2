// The near end of a probe: a socket whose address is known before it connects, so that a rule can be made of
// it.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <core/settings.hpp>
#include <os/socket_address.hpp>

namespace handoff {

struct probe_socket {
  unique_fd fd;         // bound to `from`, not connected; blocking and close-on-exec
  socket_address from;  // with the port that the kernel chose
  inet_address target;  // what to connect to: the listener, or loopback where it is on every address
};

// For a TCP listener with an address of its own. Comes from the address that it goes to.
result<probe_socket> bind_probe(listener_settings const&);

}  // namespace handoff
