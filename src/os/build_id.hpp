// The build-id that the linker noted in an ELF file (ld(1), --build-id).
#pragma once

#include <string>

namespace handoff {

// In hexadecimal digits; empty when the file is of another kind, has none, or makes no sense. Reads bounded
// pieces of `file` by pread and trusts none of its numbers.
std::string read_build_id(int file);

}  // namespace handoff
