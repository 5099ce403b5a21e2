// Words as those read them again who get them: a shell, a unit file, the lines of a command in it.
#pragma once

#include <string>
#include <vector>

namespace handoff::cli {

// For a shell: exactly this word.
std::string shell_word(std::string const&);

// For a list of paths in a unit file, or a line of tmpfiles.d(5): exactly this word, with no specifier in it.
std::string unit_word(std::string const&);

// For Exec…= of systemd.service(5): exactly these words, with neither specifiers nor variables in them.
std::string exec_line(std::vector<std::string> const&);

}  // namespace handoff::cli
