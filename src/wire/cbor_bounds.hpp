// Looks at CBOR before its parser does, for what the parser does not bound itself.
#pragma once

#include <cstddef>
#include <string_view>

namespace handoff {

namespace cbor_bound {
constexpr std::size_t depth = 64;
constexpr std::size_t values = 1 << 20;   // in all
constexpr std::size_t entries = 1 << 17;  // of one list or map
}  // namespace cbor_bound

// Whether it is one value in CBOR that can be read without an exhausted stack (nlohmann's parser calls itself
// for each level), without a thrown error (that it throws for a list which claims to be too long), and with
// a bounded amount of memory.
bool is_bounded_cbor(std::string_view bytes);

}  // namespace handoff
