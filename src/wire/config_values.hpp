// The small languages inside a configuration's strings: durations, sizes, signals, octal modes. Pure text to
// value; an error's text says what was expected, its reader adds where.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace handoff {

// "500ms", "2 s", "1h30m": whole numbers with the units d, h, m (or min), s, ms, largest first, each at most
// once.
result<duration> parse_duration(std::string_view text);
// The shortest text that parse_duration reads as the same.
std::string duration_text(duration);

// "4096", "64K", "1M", "2G": bytes; the letters are powers of 1024.
result<std::uint64_t> parse_size(std::string_view text);

// "0660": octal, at most 0777.
result<std::uint32_t> parse_mode(std::string_view text);

// "25%": a whole number from 0 to 100.
result<std::uint32_t> parse_percentage(std::string_view text);

// "204" or "200-399": codes of HTTP from 100 to 599.
result<status_range> parse_status_range(std::string_view text);
// What parse_status_range reads as the same.
std::string status_text(status_range);

// "SIGTERM" or "TERM": a signal that can ask a process to end.
result<int> parse_signal(std::string_view text);

// "infinity", "4096" for both, or "1024:4096" for the soft and the hard one; sizes as in parse_size.
struct limit_pair {
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  bool operator==(limit_pair const&) const = default;
};
result<limit_pair> parse_limit(std::string_view text);

// "100ms..30s", or one duration for a pause that does not grow.
struct duration_range {
  duration min{};
  duration max{};
  bool operator==(duration_range const&) const = default;
};
result<duration_range> parse_duration_range(std::string_view text);

// "capture", "journal", "inherit", "null", or "file:/path".
result<output_settings> parse_output(std::string_view text);

// The setrlimit(2) resources, without RLIMIT_, in small letters.
std::span<std::string_view const> limit_names();
// The capabilities(7) by number: "CAP_CHOWN" is 0.
std::span<std::string_view const> capability_names();

// The candidate that `word` is probably a misspelling of; empty when none is near.
std::string_view nearest(std::string_view word, std::span<std::string_view const> candidates);

}  // namespace handoff
