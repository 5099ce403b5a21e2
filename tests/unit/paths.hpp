#pragma once

// Where the build has what tests run and read. One file alone is compiled with them, so that a compiler's
// cache knows all others in any directory.

namespace handoff {

extern char const* const source_root;
extern char const* const launcher_path;
extern char const* const describe_process_path;

}  // namespace handoff
