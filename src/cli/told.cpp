#include "told.hpp"

#include <base/text.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace handoff::cli {

namespace {

constexpr std::size_t longest_line = 1024;
constexpr duration longest_span = std::chrono::hours(24 * 365 * 100);

}  // namespace

json const& member(json const& object, char const* name) {
  static json const nothing;
  if (!object.is_object()) return nothing;
  auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

std::string line_of(json const& value) {
  auto const* found = value.get_ptr<std::string const*>();
  return found == nullptr ? std::string() : printable(*found, longest_line);
}

std::string text(json const& object, char const* name) { return line_of(member(object, name)); }

std::string raw_text(json const& object, char const* name) {
  auto const* found = member(object, name).get_ptr<std::string const*>();
  return found == nullptr ? std::string() : *found;
}

std::optional<std::int64_t> whole(json const& object, char const* name) {
  json const& value = member(object, name);
  if (auto const* large = value.get_ptr<json::number_unsigned_t const*>()) {
    if (*large > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(*large);
  }
  if (auto const* small = value.get_ptr<json::number_integer_t const*>()) return *small;
  return std::nullopt;
}

std::optional<duration> span(json const& object, char const* name) {
  auto ms = whole(object, name);
  if (!ms) return std::nullopt;
  return duration(std::clamp<std::int64_t>(*ms, 0, longest_span.count()));
}

std::optional<double> real(json const& object, char const* name) {
  json const& value = member(object, name);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::optional<weight> part(json const& object, char const* name) {
  json const& value = member(object, name);
  if (!value.is_number()) return std::nullopt;
  double hundredths = std::clamp(value.get<double>() * 100, 0.0, double(number(full_weight)));
  return weight{static_cast<std::uint32_t>(std::lround(hundredths))};
}

json const& list(json const& object, char const* name) {
  static json const nothing = json::array();
  json const& value = member(object, name);
  return value.is_array() ? value : nothing;
}

std::vector<std::string> lines(json const& object, char const* name) {
  std::vector<std::string> shown;
  for (json const& value : list(object, name)) shown.push_back(line_of(value));
  return shown;
}

std::string one_line(json const& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

}  // namespace handoff::cli
