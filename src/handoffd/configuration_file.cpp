#include "configuration_file.hpp"

#include <os/file.hpp>
#include <wire/config_toml.hpp>

#include <utility>

namespace handoff {

configuration_file::configuration_file(std::string path) : path_(std::move(path)) {}

std::expected<settings, problems> configuration_file::read() {
  auto text = read_file(path_, limit::configuration_bytes);
  if (!text) return std::unexpected(problems{text.error().message()});
  if (!text_.empty() && *text == text_) return meaning_;
  config_reading reading = read_config(*text);
  if (!reading.problems.empty()) {
    problems all;
    for (auto const& p : reading.problems) all.push_back(to_string(p, path_));
    return std::unexpected(std::move(all));
  }
  text_ = std::move(*text);
  meaning_ = std::move(reading.value);
  return meaning_;
}

}  // namespace handoff
