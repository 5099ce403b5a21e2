// The options of a listener's socket, set before it is bound.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

namespace handoff {

// Sets every configured option on a socket of `family` (AF_INET, AF_INET6, AF_UNIX). An option that does not
// apply to its kind of socket is left out.
result<> set_socket_options(int fd, int family, socket_type type, socket_options const& options);

// O_NONBLOCK, for everybody who has this socket.
result<> set_non_blocking(int fd);

}  // namespace handoff
