#include "wrap_words.hpp"

#include <base/characters.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace handoff::cli {

namespace {

bool is_plain(char c) {
  return is_alphanumeric(c) || std::string_view("%$/_.:,@+=-").find(c) != std::string_view::npos;
}

// In quotes where it needs them, with escapes, systemd.syntax(7); what would start something is `doubled`.
std::string quoted(std::string_view word, std::string_view doubled) {
  std::string made;
  for (char c : word) {
    if (doubled.find(c) != doubled.npos)
      made += std::string(2, c);
    else if (c == '"' || c == '\\')
      made += fmt::format("\\{}", c);
    else if (auto byte = static_cast<unsigned char>(c); byte < ' ' || byte == 0x7f)
      made += fmt::format("\\x{:02x}", byte);
    else
      made += c;
  }
  bool plain = !word.empty() && std::ranges::all_of(word, is_plain);
  return plain ? made : "\"" + made + "\"";
}

}  // namespace

std::string shell_word(std::string const& word) {
  std::string made = "'";
  for (char c : word) made += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return made + "'";
}

std::string unit_word(std::string const& word) { return quoted(word, "%"); }

std::string exec_line(std::vector<std::string> const& words) {
  std::string line;
  for (auto const& word : words) line += (line.empty() ? "" : " ") + quoted(word, "%$");
  return line;
}

}  // namespace handoff::cli
