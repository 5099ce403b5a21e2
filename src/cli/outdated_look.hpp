// Looking at the processes of a service, and at what is on disk by now.
#pragma once

#include <cli/outdated.hpp>
#include <cli/supervisors.hpp>

namespace handoff::cli {

// Whether `of`, which told `status`, runs what is on disk. Asks it for its configuration too.
finding look_at(supervisor const& of, json const& status);

}  // namespace handoff::cli
