// TOML text to settings. The only user of toml++; the same reader serves the start, HUP and `handoff check`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <core/settings.hpp>

namespace handoff {

// One thing wrong with a configuration, where it stands, and what was expected.
struct config_problem {
  unsigned line = 0;  // from 1; 0 when the whole file is meant
  unsigned column = 0;
  std::string what;  // "unknown key 'comand' in [service]: did you mean 'command'?"

  bool operator==(config_problem const&) const = default;
};

// "web.toml:12:3: unknown key …".
std::string to_string(config_problem const&, std::string_view file);

struct config_reading {
  settings value;                        // meaningful when `problems` is empty
  std::vector<config_problem> problems;  // in the order of the file; all of them, not only the first
};

// Reads and validates. Pure: looks at no file, user database or clock.
config_reading read_config(std::string_view toml);

}  // namespace handoff
