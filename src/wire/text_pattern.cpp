#include "text_pattern.hpp"

#include <regex>

namespace handoff {

struct text_pattern::automaton {
  std::regex expression;
};

namespace {

std::string_view why(std::regex_constants::error_type type) {
  namespace kind = std::regex_constants;
  if (type == kind::error_brack) return "a '[' without its ']'";
  if (type == kind::error_paren) return "a '(', ')', '*', '+' or '?' without what belongs to it";
  if (type == kind::error_brace || type == kind::error_badbrace) return "what '{…}' should mean is unclear";
  if (type == kind::error_range) return "a range such as [z-a]";
  if (type == kind::error_escape) return "a '\\' before what needs none";
  if (type == kind::error_ctype) return "an unknown class of characters";
  if (type == kind::error_space) return "it is too large";
  if (type == kind::error_complexity) return "back references are not supported";
  return "no regular expression";
}

}  // namespace

// The library throws; nothing of that leaves this file.
result<text_pattern> text_pattern::compile(std::string const& expression) {
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
