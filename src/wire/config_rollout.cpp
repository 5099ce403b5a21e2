#include "config_rollout.hpp"

#include <base/characters.hpp>
#include <wire/config_network.hpp>

namespace handoff::config {

namespace {

// ---- steps

canary_step understood(written_step const& step) {
  auto hold = step.pause ? std::nullopt : std::optional(step.hold.value_or(now));
  return {step.to, hold, step.checks, step.metrics};
}

// Traffic that went to the candidate is not taken away again by a step, and 100 ends the list: behind it
// nothing is left to move.
void check_order(config_list const& nodes, std::vector<written_step> const& steps, config_report& report) {
  weight before = no_weight;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    config_node const* written = find(nodes[i], "weight");
    if (!written || !report.sound(written->at)) continue;
    weight to = steps[i].to;
    if (to < before) {
      report.add(written->at, "[rollout] steps weight: expected at least " + spell(before) +
                                  " as in the step before, for weights must not fall, found " + spell(to));
    } else if (to == full_weight && i + 1 < steps.size()) {
      report.add(written->at, "[rollout] steps weight: 100 may stand only in the last step");
    } else {
      before = to;
    }
  }
}

std::optional<std::vector<canary_step>> read_steps(config_node const& node, config_report& report) {
  auto written = tables(step_keys, "[rollout] steps", 1, limit::steps,
                        "a list of tables such as [{ weight = 5, hold = \"2m\" }]")(node, report);
  if (!written) return std::nullopt;
  auto const& nodes = std::get<config_list>(node.value);
  check_order(nodes, *written, report);
  std::vector<canary_step> steps;
  for (std::size_t i = 0; i < written->size(); ++i) {
    written_step const& step = (*written)[i];
    config_node const* pause = find(nodes[i], "pause");
    config_node const* metrics = find(nodes[i], "metrics");
    bool passes = !step.pause && step.hold.value_or(now) == now;
    if (passes && step.metrics && !step.metrics->empty())
      report.add(metrics->at,
                 "[rollout] steps metrics: needs 'hold' or 'pause' beside it, to be read meanwhile");
    if (step.pause && step.hold) report.add(pause->at, "[rollout] steps pause: excludes 'hold'");
    steps.push_back(understood(step));
  }
  return steps;
}

// ---- counts of instances

// What a percentage comes to depends on [service] instances: the rules put that in its place.
std::optional<std::uint32_t> count_or_percentage(config_node const& node, config_report& report) {
  constexpr std::uint32_t most = limit::instances;
  if (std::holds_alternative<std::int64_t>(node.value)) return whole(0U, most)(node, report);
  parsed(parse_percentage, "a whole number from 0 to " + std::to_string(most) +
                               " or a percentage such as \"25%\"")(node, report);
  return std::nullopt;
}

// ---- an experiment

// Commands name a variant where they also take a generation's number, and services find it in their
// environment: a plain word.
std::string variant_name(std::string_view name) {
  constexpr std::size_t longest = 32;
  auto fits = [](char c) { return is_in_name(c) || c == '-' || c == '.'; };
  bool good =
      !name.empty() && name.size() <= longest && is_letter(name[0]) && std::ranges::all_of(name, fits);
  if (good) return {};
  return "expected a word of 1 to " + std::to_string(longest) +
         " letters, digits, '-', '_' and '.', a letter first; found " + in_quotes(name);
}

std::optional<std::array<std::string, 2>> two_variants(config_node const& node, config_report& report) {
  auto names = list(text(variant_name))(node, report);
  if (!names || names->size() != std::get<config_list>(node.value).size()) return std::nullopt;
  if (names->size() == 2 && (*names)[0] != (*names)[1]) return std::array{(*names)[0], (*names)[1]};
  report.object(node.at,
                "expected two different names, those of live and the candidate, such as "
                "[\"control\", \"treatment\"]");
  return std::nullopt;
}

auto strategy_word() {
  return choice<strategy>({{"handoff", strategy::handoff},
                           {"rolling", strategy::rolling},
                           {"blue-green", strategy::blue_green},
                           {"canary", strategy::canary},
                           {"experiment", strategy::experiment}});
}

auto sharing_word() {
  return choice<sharing>(
      {{"auto", sharing::automatic}, {"steered", sharing::steered}, {"shared", sharing::shared}});
}

}  // namespace

grammar<written_step> const& step_keys() {
  using s = written_step;
  static grammar<s> const keys{
      {"weight", &s::to, percentage, presence::required},
      {"hold", &s::hold, time(now)},
      {"pause", &s::pause, flag},
      {"checks", &s::checks, list(text(label))},
      {"metrics", &s::metrics, list(text(label))},
  };
  return keys;
}

grammar<route> const& route_keys() {
  using r = route;
  static grammar<r> const keys{
      {"from", &r::from, parsed(parse_network, "a network such as \"10.0.9.0/24\""), presence::required},
      {"to", &r::to, choice<side>({{"candidate", side::candidate}, {"live", side::live}}),
       presence::required},
  };
  return keys;
}

grammar<rollout_settings> const& rollout_keys() {
  using r = rollout_settings;
  static grammar<r> const keys{
      {"strategy", &r::strategy, strategy_word()},
      {"sharing", &r::sharing, sharing_word()},
      {"sticky", &r::sticky, flag},
      {"route", &r::routes,
       tables(route_keys, "[rollout] route", 0, limit::routes,
              "a list of tables such as [{ from = \"10.0.9.0/24\", to = \"candidate\" }]")},
      {"retire-after", &r::retire_after, time(moment)},
      {"bake", &r::bake, time(now)},
      {"max-draining", &r::max_draining, whole(1U, limit::draining)},
      {"candidate-restarts", &r::candidate_restarts, whole(0U, limit::restart_burst)},
      {"steps", &r::steps, read_steps},
      {"canary-instances", &r::canary_instances, whole(0U, limit::instances)},
      {"max-surge", &r::max_surge, count_or_percentage},
      {"max-unavailable", &r::max_unavailable, count_or_percentage},
      {"auto-promote", &r::auto_promote, flag},
      {"standby", &r::standby, time(now)},
      {"weight", &r::experiment_weight, percentage},
      {"variants", &r::variants, two_variants},
  };
  return keys;
}

}  // namespace handoff::config
