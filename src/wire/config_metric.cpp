#include "config_metric.hpp"

#include <wire/config_probe.hpp>

namespace handoff::config {

namespace {

constexpr std::uint32_t most_needed = 1'000'000'000;

// A number from `min` to `max`, with a fraction or without.
auto number(double min, double max, std::string_view expected) {
  return [=](config_node const& node, config_report& report) -> std::optional<double> {
    std::optional<double> value;
    if (auto const* whole = std::get_if<std::int64_t>(&node.value)) value = static_cast<double>(*whole);
    if (auto const* fraction = std::get_if<double>(&node.value)) value = *fraction;
    if (value && *value >= min && *value <= max) return value;
    wrong_type(node, report, expected);
    return std::nullopt;
  };
}

void read_confidence(config_node const& node, config_report& report, metric_settings& into) {
  auto percent = number(50, 99.9999, "a percentage from 50 to 99.9999")(node, report);
  if (percent) into.confidence = *percent / 100;
}

probe_settings& page_of(metric_settings& m) {
  return m.probe.emplace(probe_settings{.kind = probe_kind::page, .path = "/metrics", .status = {200, 200}});
}

auto count_word() {
  using c = traffic_count;
  return choice<c>({{"connections", c::connections}, {"datagrams", c::datagrams}, {"queued", c::queued}});
}

}  // namespace

grammar<metric_settings> const& metric_keys() {
  using m = metric_settings;
  static grammar<m> const keys{
      {"name", &m::name, text(label), presence::required},
      {"command", &m::command, command},
      key<m>::nested("prometheus", page_of, page_keys, "[[metric]] prometheus"),
      {"steering", &m::steering, count_word()},
      {"listener", &m::listener, text(listener_name)},
      {"kind", &m::kind, choice<metric_kind>({{"rate", metric_kind::rate}, {"value", metric_kind::value}})},
      {"interval", &m::interval, time(moment)},
      {"timeout", &m::timeout, time(moment)},
      {"max", &m::max, number(0, 1e15, "a number from 0 on")},
      {"max-ratio", &m::ratio, number(0.01, 1000, "a number from 0.01 to 1000")},
      {"confidence", read_confidence},
      {"min-count", &m::least, whole(1U, most_needed)},
  };
  return keys;
}

}  // namespace handoff::config
