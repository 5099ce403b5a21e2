#include "environment_file.hpp"

#include <base/characters.hpp>

#include <algorithm>

namespace handoff {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r";
  auto begin = text.find_first_not_of(blank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

result<std::string> unquoted(std::string_view value) {
  if (value.empty() || (value.front() != '"' && value.front() != '\'')) return std::string(value);
  char quote = value.front();
  std::string plain;
  for (std::size_t i = 1; i < value.size(); ++i) {
    if (value[i] == quote) {
      if (i + 1 != value.size()) return plain_failure("text behind the closing quote");
      return plain;
    }
    bool escaped = quote == '"' && value[i] == '\\' && i + 1 < value.size() &&
                   (value[i + 1] == '"' || value[i + 1] == '\\');
    plain += escaped ? value[++i] : value[i];
  }
  return plain_failure("the closing quote is missing");
}

}  // namespace

bool is_variable_name(std::string_view name) {
  return !name.empty() && begins_name(name.front()) && std::ranges::all_of(name, is_in_name);
}

result<std::vector<std::pair<std::string, std::string>>> read_environment_file(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> variables;
  for (unsigned number = 1; !text.empty(); ++number) {
    auto end = std::min(text.find('\n'), text.size());
    std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    auto wrong = [&](std::string const& what) {
      return plain_failure("line " + std::to_string(number) + ": " + what);
    };
    auto equals = line.find('=');
    if (equals == std::string_view::npos) return wrong("expected KEY=value");
    std::string_view key = trimmed(line.substr(0, equals));
    if (!is_variable_name(key)) return wrong("the name before '=' is none: letters, digits and '_' make one");
    auto value = unquoted(trimmed(line.substr(equals + 1)));
    if (!value) return wrong(value.error().message());
    if (value->find('\0') != std::string::npos) return wrong("a NUL byte in the value");
    variables.emplace_back(key, std::move(*value));
  }
  return variables;
}

}  // namespace handoff
