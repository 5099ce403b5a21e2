// Kinds of characters: ASCII's, whatever the locale says, which isalpha(3) and its like ask.
#pragma once

namespace handoff {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_lowercase(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_letter(char c) { return is_lowercase(c) || (c >= 'A' && c <= 'Z'); }
constexpr bool is_alphanumeric(char c) { return is_letter(c) || is_digit(c); }

// Of a variable's or a metric's name; digits follow.
constexpr bool begins_name(char c) { return is_letter(c) || c == '_'; }
constexpr bool is_in_name(char c) { return begins_name(c) || is_digit(c); }

}  // namespace handoff
