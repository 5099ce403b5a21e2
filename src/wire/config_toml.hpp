// TOML text to settings: what a start, HUP and `handoff check` all call.
#pragma once

#include <core/settings.hpp>
#include <wire/config_problem.hpp>

#include <string_view>
#include <vector>

namespace handoff {

struct config_reading {
  settings value;                        // meaningful when `problems` is empty
  std::vector<config_problem> problems;  // in the order of the file; all of them, not only the first
};

// Reads and validates. Pure: looks at no file, user database or clock. Text that is not TOML has one problem,
// the first; otherwise every problem is told, up to limit::config_problems.
config_reading read_config(std::string_view toml);

}  // namespace handoff
