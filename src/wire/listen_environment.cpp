#include "listen_environment.hpp"

#include <core/settings.hpp>

#include <algorithm>

namespace handoff {

std::vector<std::string> listen_environment(std::span<std::string const> names) {
  if (names.empty()) return {};
  std::string joined;
  for (auto const& name : names) joined += (&name == &names.front() ? "" : ":") + name;
  return {"LISTEN_FDS=" + std::to_string(names.size()), "LISTEN_FDNAMES=" + joined};
}

result<std::string> with_descriptor_numbers(std::string_view text, std::span<std::string const> names) {
  constexpr std::string_view opening = "{fd:";
  std::string replaced;
  for (;;) {
    std::size_t start = text.find(opening);
    std::size_t end = text.find('}', std::min(start, text.size()));
    if (end == std::string_view::npos) return replaced.append(text);
    replaced += text.substr(0, start);
    std::string_view name = text.substr(start + opening.size(), end - start - opening.size());
    auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return plain_failure("{fd:" + std::string(name) + "} names no listener");
    replaced += std::to_string(first_passed_descriptor + (found - names.begin()));
    text.remove_prefix(end + 1);
  }
}

bool is_descriptor_name(std::string_view name) {
  auto allowed = [](char c) { return c >= ' ' && c < '\x7F' && c != ':'; };
  return !name.empty() && name.size() <= limit::listener_name_length &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace handoff
