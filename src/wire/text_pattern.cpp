#include "text_pattern.hpp"

#include <base/characters.hpp>

#include <algorithm>
#include <regex>

namespace handoff {

struct text_pattern::automaton {
  std::regex expression;
};

namespace {

constexpr std::string_view too_large = "it is too large";

// The number that begins there has more digits than any count should have.
bool is_long_number(std::string_view text) {
  constexpr std::size_t most_digits = 4;
  return text.find_first_not_of("0123456789") > most_digits && text.size() > most_digits;
}

// libstdc++ 12 reads the numbers in \1 and {1,2} into an integer that overflows.
std::string_view why_unreadable(std::string_view expression) {
  for (std::size_t at = 0; at < expression.size(); ++at) {
    std::string_view rest = expression.substr(at + 1);
    if (expression[at] == '{') {
      std::string_view counts = rest.substr(0, rest.find('}'));
      std::string_view second = counts.substr(std::min(counts.size(), counts.find(',')));
      if (is_long_number(counts) || is_long_number(second.substr(!second.empty()))) return too_large;
    }
    if (expression[at] != '\\') continue;
    if (!rest.empty() && is_digit(rest[0]) && rest[0] != '0') return "back references are not supported";
    ++at;
  }
  return {};
}

std::string_view why(std::regex_constants::error_type type) {
  namespace kind = std::regex_constants;
  if (type == kind::error_brack) return "a '[' without its ']'";
  if (type == kind::error_paren) return "a '(', ')', '*', '+' or '?' without what belongs to it";
  if (type == kind::error_brace || type == kind::error_badbrace) return "what '{…}' should mean is unclear";
  if (type == kind::error_range) return "a range such as [z-a]";
  if (type == kind::error_escape) return "a '\\' before what needs none";
  if (type == kind::error_ctype) return "an unknown class of characters";
  if (type == kind::error_space) return too_large;
  return "no regular expression";
}

}  // namespace

// The library throws; nothing of that leaves this file.
result<text_pattern> text_pattern::compile(std::string const& expression) {
  if (auto objection = why_unreadable(expression); !objection.empty())
    return plain_failure(std::string(objection));
  constexpr auto polynomial = std::regex_constants::__polynomial;  // libstdc++'s breadth-first automaton
  try {
    return text_pattern(std::make_shared<automaton const>(
        std::regex(expression, std::regex_constants::ECMAScript | polynomial)));
  } catch (std::regex_error const& e) {
    return plain_failure(std::string(why(e.code())));
  }
}

bool text_pattern::matches(std::string_view text) const {
  return std::regex_match(text.begin(), text.end(), automaton_->expression);
}

}  // namespace handoff
