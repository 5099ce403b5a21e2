// How many connections a process would lose.
#pragma once

#include <os/process.hpp>

#include <cstddef>

namespace handoff {

// Connected stream sockets of a running process, to whoever: accepted ones and its own. Looks at duplicates
// that pidfd_getfd(2) makes, at no more than a bounded number of descriptors; 0 where that is not allowed.
std::size_t count_connections(process const&);

}  // namespace handoff
