#include "config_nesting.hpp"

namespace handoff {

namespace {

// What follows a string that begins `text`. On text that is no valid TOML any answer will do: the parser
// stops there.
std::string_view after_string(std::string_view text) {
  char quote = text[0];
  std::string_view fence = text.substr(0, 3);
  bool multi_line = fence.size() == 3 && fence[1] == quote && fence[2] == quote;
  text.remove_prefix(multi_line ? 3 : 1);
  while (!text.empty()) {
    if (multi_line ? text.starts_with(fence) : text[0] == quote || text[0] == '\n') break;
    bool escape = text[0] == '\\' && quote == '"' && text.size() > 1;
    text.remove_prefix(escape ? 2 : 1);
  }
  if (!text.starts_with(quote)) return text;
  text.remove_prefix(multi_line ? 3 : 1);
  // Up to two quotes before the closing three belong to the string.
  for (int i = 0; multi_line && i < 2 && text.starts_with(quote); ++i) text.remove_prefix(1);
  return text;
}

std::string_view after_comment(std::string_view text) {
  std::size_t end = text.find('\n');
  return end == std::string_view::npos ? std::string_view{} : text.substr(end);
}

config_place place_of(std::string_view toml, std::size_t offset) {
  config_place at{1, 1};
  for (char c : toml.substr(0, offset)) {
    at.column = c == '\n' ? 1 : at.column + 1;
    if (c == '\n') ++at.line;
  }
  return at;
}

}  // namespace

std::optional<config_place> key_with_too_many_parts(std::string_view toml, std::size_t parts) {
  std::size_t dots = 0;
  for (std::string_view rest = toml; !rest.empty();) {
    switch (rest[0]) {
      case '"':
      case '\'':
        rest = after_string(rest);
        continue;
      case '#':
        rest = after_comment(rest);
        continue;
      case '.':
        if (++dots >= parts) return place_of(toml, toml.size() - rest.size());
        break;
      // What ends a key or a value.
      case '\n':
      case '=':
      case ',':
      case '[':
      case ']':
      case '{':
      case '}':
        dots = 0;
        break;
      default:
        break;
    }
    rest.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace handoff
