// A configuration file as a tree of plain values that know where they stand; free of any parser's types.
#pragma once

#include <wire/config_problem.hpp>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace handoff {

namespace limit {
constexpr std::size_t config_nesting = 16;    // of values within values
constexpr std::size_t config_key_parts = 16;  // of one dotted key
}  // namespace limit

struct config_entry;

// What TOML has and no setting uses: a date or time.
struct config_unused {
  std::string_view what;
};

using config_list = std::vector<struct config_node>;
using config_table = std::vector<config_entry>;  // in the order of the file

struct config_node {
  config_place at;
  std::variant<bool, std::int64_t, double, std::string, config_list, config_table, config_unused> value;
};

struct config_entry {
  std::string key;
  config_place at;  // of the key
  config_node node;
};

// The node with that key, or null; also null when `table` is no table.
config_node const* find(config_node const& table, std::string_view key);

// The parser's border: bounded in size and depth, so that neither it nor a walk over the tree can exhaust the
// stack.
std::expected<config_node, config_problem> parse_toml(std::string_view text);

}  // namespace handoff
