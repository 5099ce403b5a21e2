#include "durations.hpp"

#include <base/characters.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace handoff::cli {

using namespace std::chrono_literals;

std::string humane(duration span) {
  auto ms = span.count();
  if (ms < 0) return "0 s";
  if (ms > 0 && span < 50ms) return fmt::format("{} ms", ms);
  if (span < 9950ms && ms % 1000 >= 50 && ms % 1000 < 950) return fmt::format("{:.1f} s", double(ms) / 1000);
  if (span < 2min) return fmt::format("{} s", (ms + 500) / 1000);
  if (span < 2h) return fmt::format("{} min", span / 1min);
  if (span < 48h) return fmt::format("{} h", span / 1h);
  return fmt::format("{} d", span / 24h);
}

std::optional<duration> read_duration(std::string_view text) {
  constexpr duration longest = 24h * 30;
  std::uint32_t count = 0;
  auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (status != std::errc() || count == 0) return std::nullopt;
  std::string_view unit(rest, text.data() + text.size());
  struct {
    std::string_view name;
    duration length;
  } constexpr units[] = {{"ms", 1ms}, {"s", 1s}, {"m", 1min}, {"h", 1h}, {"d", 24h}};
  for (auto const& [name, length] : units) {
    if (unit == name && count <= longest / length) return count * length;
  }
  return std::nullopt;
}

std::optional<weight> read_weight(std::string_view text) {
  constexpr std::size_t longest = 3;  // "100"
  auto digits = [](std::string_view s) { return std::ranges::all_of(s, is_digit); };
  if (text.ends_with('%')) text.remove_suffix(1);
  auto point = text.find('.');
  std::string whole(text.substr(0, point));
  std::string rest(point == std::string_view::npos ? "0" : text.substr(point + 1));
  if (whole.empty() || whole.size() > longest || rest.empty() || rest.size() > 2) return std::nullopt;
  if (!digits(whole) || !digits(rest)) return std::nullopt;
  rest.resize(2, '0');
  auto hundredths = static_cast<std::uint32_t>(std::stoul(whole + rest));
  return hundredths <= number(full_weight) ? std::optional(weight{hundredths}) : std::nullopt;
}

}  // namespace handoff::cli
