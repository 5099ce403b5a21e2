// An environment-file: KEY=value lines, as systemd.exec(5) EnvironmentFile= has them.
#pragma once

#include <base/error.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace handoff {

// Empty lines and those that begin with '#' or ';' are comments. A value may stand in single or double
// quotes; outside of them blanks at its ends do not count, inside double quotes \" and \\ are the characters.
// The error names the line.
result<std::vector<std::pair<std::string, std::string>>> read_environment_file(std::string_view text);

// What POSIX calls a name: letters, digits and '_', not beginning with a digit.
bool is_variable_name(std::string_view);

}  // namespace handoff
