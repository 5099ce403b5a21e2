// Whether the other end of a connection within this machine was accepted.
#pragma once

#include <base/error.hpp>

namespace handoff::probe {

// Asks the kernel, sock_diag(7), for the peer of a connected TCP socket. One that waits in an accept queue
// belongs to no file yet and has no inode. Needs no privilege.
result<bool> is_accepted(int fd);

}  // namespace handoff::probe
