// How many connections a process would lose.
#pragma once

#include <os/descriptor_disposer.hpp>
#include <os/process.hpp>

#include <cstddef>

namespace handoff {

// Connected stream sockets of a running process, to whoever: accepted ones and its own. Looks at duplicates
// that pidfd_getfd(2) makes, at no more than a bounded number of descriptors; 0 where that is not allowed.
// The duplicates go to the disposer: the process may close its own meanwhile, and ours is the last one then.
std::size_t count_connections(process const&, descriptor_disposer&);

}  // namespace handoff
