// A snapshot in which each member has, somewhere, another value than its default.
#pragma once

#include <wire/snapshot.hpp>

namespace handoff {

snapshot full_snapshot();

}  // namespace handoff
