#include "config_metric_rules.hpp"

#include <wire/config_section_rules.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

namespace handoff {

namespace {

// A source that gives one sample a look has few of them in any hold.
constexpr std::uint32_t least_single_samples = 10;

// Whether just one source is written.
bool has_one_source(section_rules const& rules) {
  auto given = [&](std::string_view key) { return find(rules.table, key) != nullptr; };
  int sources = given("command") + given("prometheus") + given("steering");
  if (sources == 0)
    rules.report.add(rules.table.at, "[[metric]] needs 'command', 'prometheus' or 'steering'");
  if (sources > 1)
    rules.report.add(rules.table.at, "[[metric]] needs just one of 'command', 'prometheus' and 'steering'");
  return sources == 1;
}

// ---- a page of metrics

void check_page_of_rate(section_rules const& page) {
  page.only(false, "value", "kind = \"value\"");
  page.only(false, "mean", "kind = \"value\"");
  for (std::string_view key : {"failures", "all"})
    if (!find(page.table, key))
      page.report.add(page.table.at, std::string(page.header) + " needs " + in_quotes(key) +
                                         ", or 'value' or 'mean' with kind = \"value\"");
}

void check_page_of_value(section_rules const& page, metric_settings& m) {
  page.only(false, "failures", "kind = \"rate\"");
  page.only(false, "all", "kind = \"rate\"");
  bool value = find(page.table, "value") != nullptr, mean = find(page.table, "mean") != nullptr;
  bool told = find(page.table, "failures") || find(page.table, "all");
  if (value == mean && !told)
    page.report.add(page.table.at, std::string(page.header) + (value ? " needs just one of 'value' and 'mean'"
                                                                     : " needs 'value' or 'mean'"));
  if (mean) m.kind = metric_kind::mean;
}

// Behind one slot whichever instance accepts answers: the counters of two of them, taken for those of one,
// fall and jump from look to look.
void check_answers(section_rules const& page, metric_settings const& m, std::uint32_t instances) {
  bool counters = m.kind == metric_kind::rate || m.kind == metric_kind::mean;
  if (!counters || instances < 2 || m.probe->page.aggregated) return;
  page.report.add(
      page.table.at,
      std::string(page.header) + ": any of the " + std::to_string(instances) +
          " instances answers, each with counters of its own: write aggregated = true where the page "
          "speaks for all of them, or use 'command'");
}

void check_page(section_rules const& rules, metric_settings& m, settings const& all) {
  config_node const& table = *find(rules.table, "prometheus");
  if (!m.probe || !std::holds_alternative<config_table>(table.value) || !rules.meant("kind")) return;
  section_rules page{table, "[[metric]] prometheus", rules.report};
  if (m.kind == metric_kind::rate)
    check_page_of_rate(page);
  else
    check_page_of_value(page, m);
  if (page.meant("aggregated")) check_answers(page, m, all.service.instances);
  if (rules.meant("timeout")) m.probe->timeout = m.timeout;
}

// ---- the counters of steering

// Each connection is drawn for itself: a candidate's share is its weight, whatever it does to its clients.
// Only where a client stays on its side does it come again to the same one.
void check_comparison(section_rules const& rules, config_node const& written, metric_settings const& m,
                      rollout_settings const& how) {
  if (!m.ratio) return;
  if (!how.routes.empty())
    return rules.object(written, "steering",
                        "cannot be compared with live beside [rollout] 'route', which adds to "
                        "one side: write 'max' without 'max-ratio'");
  if (*m.steering == traffic_count::connections && !how.sticky)
    rules.object(
        written, "steering",
        "\"connections\" can be compared with live only with [rollout] sticky = true, for a client that "
        "comes again is drawn again: write that, or 'max' without 'max-ratio'");
}

void check_steering(section_rules const& rules, metric_settings& m, settings const& all) {
  config_node const* written = rules.given("steering");
  if (!written || !m.steering) return;
  config_node const* kind = rules.given("kind");
  if (kind && m.kind == metric_kind::rate)
    rules.object(*kind, "kind", "expected \"value\", of which 'steering' is, found 'rate'");
  m.kind = *m.steering == traffic_count::queued ? metric_kind::value : metric_kind::flow;
  if (m.kind == metric_kind::flow) check_comparison(rules, *written, m, all.rollout);
}

// ---- what holds for all

void check_bounds(section_rules const& rules, metric_settings& m) {
  auto const* bound = rules.given("max");
  bool is_rate = m.kind == metric_kind::rate;
  if (bound != nullptr && is_rate && *m.max > 100)
    rules.object(*bound, "max", "of a rate it is a percentage, at most 100");
  if (is_rate && m.max) m.max = *m.max / 100;
}

void check_metric(section_rules const& rules, metric_settings& m, settings const& all) {
  // To be no worse than live is what everybody means who says no more; but who compares wants to know by how
  // much it is worse.
  bool is_experiment = all.rollout.strategy == strategy::experiment;
  if (!m.max && !m.ratio && !is_experiment) m.ratio = 1;
  if (has_one_source(rules)) {
    if (find(rules.table, "prometheus")) check_page(rules, m, all);
    if (find(rules.table, "steering")) check_steering(rules, m, all);
  }
  rules.only(find(rules.table, "steering") != nullptr, "listener", "'steering'");
  check_bounds(rules, m);
  bool single = m.kind != metric_kind::rate && m.command.empty();
  if (single && !find(rules.table, "min-count")) m.least = least_single_samples;
}

}  // namespace

void check_metrics(config_node const& file, settings& value, config_report& report) {
  config_list const& nodes = tables_of(file, "metric");
  if (value.metrics.size() != nodes.size()) return;
  std::set<std::string> names;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    section_rules rules{nodes[i], "[[metric]]", report};
    auto& m = value.metrics[i];
    auto const* name = rules.given("name");
    if (name != nullptr && !names.insert(m.name).second)
      rules.object(*name, "name", "another [[metric]] is called " + in_quotes(m.name));
    if (std::holds_alternative<config_table>(nodes[i].value)) check_metric(rules, m, value);
  }
}

}  // namespace handoff
