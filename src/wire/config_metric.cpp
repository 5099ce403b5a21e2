#include "config_metric.hpp"

#include <wire/config_section_rules.hpp>

#include <set>

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

}  // namespace

grammar<metric_settings> const& metric_keys() {
  using m = metric_settings;
  static grammar<m> const keys{
      {"name", &m::name, text(label), presence::required},
      {"command", &m::command, command, presence::required},
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

void check_metrics(config_node const& file, strategy plan, std::vector<metric_settings>& metrics,
                   config_report& report) {
  config_list const& nodes = tables_of(file, "metric");
  if (metrics.size() != nodes.size()) return;
  std::set<std::string> names;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    section_rules rules{nodes[i], "[[metric]]", report};
    auto& m = metrics[i];
    auto const* name = rules.given("name");
    if (name != nullptr && !names.insert(m.name).second)
      rules.object(*name, "name", "another [[metric]] is called " + quoted(m.name));
    auto const* bound = rules.given("max");
    bool is_rate = m.kind == metric_kind::rate;
    if (bound != nullptr && is_rate && *m.max > 100)
      rules.object(*bound, "max", "of a rate it is a percentage, at most 100");
    if (is_rate && m.max) m.max = *m.max / 100;
    // To be no worse than live is what everybody means who says no more; but who compares wants to know by
    // how much it is worse.
    if (!m.max && !m.ratio && plan != strategy::experiment) m.ratio = 1;
  }
}

}  // namespace handoff::config
