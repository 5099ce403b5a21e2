// The operator's file.
#pragma once

#include <core/settings.hpp>

#include <expected>
#include <string>
#include <vector>

namespace handoff {

// What stands against a configuration: lines "FILE:LINE:COLUMN: what".
using problems = std::vector<std::string>;

class configuration_file {
 public:
  explicit configuration_file(std::string path);

  std::string const& path() const { return path_; }

  // Reads and validates it. The same text means the same: it is taken apart only when it has changed.
  std::expected<settings, problems> read();

 private:
  std::string path_;
  std::string text_;  // the last that was valid,
  settings meaning_;  // and what it says
};

}  // namespace handoff
