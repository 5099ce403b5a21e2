// Looks at TOML text before the parser does, for what the parser does not bound itself.
#pragma once

#include <wire/config_problem.hpp>

#include <cstddef>
#include <optional>
#include <string_view>

namespace handoff {

// Where the first key with more than `parts` dotted parts stands. Each part becomes a table within a table,
// and toml++ 3.3 takes them apart by recursion: a megabyte of "a.a.a.…" would exhaust the stack.
std::optional<config_place> key_with_too_many_parts(std::string_view toml, std::size_t parts);

}  // namespace handoff
