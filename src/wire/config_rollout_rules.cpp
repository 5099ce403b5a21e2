#include "config_rollout_rules.hpp"

#include <wire/config_section_rules.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

namespace handoff {

namespace {

// `strategy = "canary"`
std::string spelled(strategy plan) { return "strategy = \"" + std::string(to_string(plan)) + "\""; }

// ---- what belongs to which strategy

constexpr std::array<std::pair<std::string_view, strategy>, 8> owners{{
    {"steps", strategy::canary},
    {"canary-instances", strategy::canary},
    {"max-surge", strategy::rolling},
    {"max-unavailable", strategy::rolling},
    {"auto-promote", strategy::blue_green},
    {"standby", strategy::blue_green},
    {"weight", strategy::experiment},
    {"variants", strategy::experiment},
}};

void check_owners(section_rules const& rules, strategy plan) {
  for (auto const& [key, owner] : owners) rules.only(plan == owner, key, spelled(owner));
  config_node const* bake = rules.given("bake");
  if (bake && plan == strategy::experiment)
    rules.object(*bake, "bake",
                 "has no meaning for " + spelled(plan) + ", which lasts until it is concluded");
}

// ---- counts of instances

// [service] instances; nothing when what stands there could not be read.
struct instance_count {
  std::uint32_t value;
  bool written;  // and not the default
};

std::optional<instance_count> instances_of(config_node const& file, settings const& value,
                                           config_report& report) {
  config_node const* service = find(file, "service");
  if (!service) return std::nullopt;
  section_rules rules{*service, "[service]", report};
  if (!rules.meant("instances")) return std::nullopt;
  return instance_count{value.service.instances, rules.given("instances") != nullptr};
}

void check_canary(section_rules const& rules, rollout_settings const& rollout,
                  std::optional<instance_count> instances) {
  config_node const* plan = rules.given("strategy");
  if (plan && !find(rules.table, "steps"))
    rules.object(*plan, "strategy", "\"canary\" needs 'steps' beside it");
  config_node const* first = rules.given("canary-instances");
  if (first && instances && rollout.canary_instances > instances->value) {
    rules.object(*first, "canary-instances",
                 "expected at most " + std::to_string(instances->value) +
                     ", the 'instances' of [service], found " + std::to_string(rollout.canary_instances));
  }
}

enum class rounding { up, down };

// Puts what a percentage comes to into its setting; a number is there already.
void resolve(section_rules const& rules, std::string_view key, instance_count instances, rounding direction,
             std::uint32_t& into) {
  config_node const* node = rules.given(key);
  auto const* text = node ? std::get_if<std::string>(&node->value) : nullptr;
  if (!text) return;
  auto percent = parse_percentage(*text);
  if (!percent) return;
  if (!instances.written) rules.object(*node, key, "a percentage needs 'instances' in [service]");
  std::uint32_t hundredths = *percent * instances.value;
  into = (hundredths + (direction == rounding::up ? 99 : 0)) / 100;
}

void check_rolling(section_rules const& rules, rollout_settings& rollout,
                   std::optional<instance_count> instances) {
  if (!instances) return;
  // As Kubernetes rounds: rather one more than one fewer.
  resolve(rules, "max-surge", *instances, rounding::up, rollout.max_surge);
  resolve(rules, "max-unavailable", *instances, rounding::down, rollout.max_unavailable);
  if (!rules.meant("max-surge") || !rules.meant("max-unavailable")) return;
  config_node const* surge = rules.given("max-surge");
  if (surge && rollout.max_surge == 0 && rollout.max_unavailable == 0) {
    rules.object(*surge, "max-surge",
                 "must not be 0 where 'max-unavailable' comes to 0 as well: no instance could be replaced");
  }
  config_node const* unavailable = rules.given("max-unavailable");
  if (unavailable && rollout.max_unavailable >= instances->value) {
    rules.object(*unavailable, "max-unavailable",
                 "expected fewer than the " + std::to_string(instances->value) +
                     " 'instances' of [service], for somebody has to serve, found " +
                     std::to_string(rollout.max_unavailable));
  }
}

// ---- steering

// The first key that asks for what only steering can do, as it is written.
struct steering_wish {
  std::string_view key;
  std::string what;
};

std::optional<steering_wish> steering_wish_of(section_rules const& rules, rollout_settings const& rollout) {
  bool by_weight = rollout.strategy == strategy::blue_green || rollout.strategy == strategy::canary ||
                   rollout.strategy == strategy::experiment;
  if (by_weight && rules.given("strategy")) return steering_wish{"strategy", spelled(rollout.strategy)};
  if (rollout.sticky && rules.given("sticky")) return steering_wish{"sticky", "sticky = true"};
  if (!rollout.routes.empty() && rules.given("route")) return steering_wish{"route", "'route'"};
  if (rollout.sharing == sharing::steered && rules.given("sharing"))
    return steering_wish{"sharing", "sharing = \"steered\""};
  return std::nullopt;
}

void check_steered_listeners(config_node const& file, settings const& value, section_rules const& rollout,
                             steering_wish const& wish) {
  config_list const& nodes = tables_of(file, "listener");
  if (nodes.empty() || value.listeners.size() != nodes.size()) return;
  for (config_node const& node : nodes) {
    if (!is_clear_listener({node, "[[listener]]", rollout.report})) return;
  }
  if (std::ranges::none_of(value.listeners, [&](auto const& l) { return is_inet(l) && l.steer; })) {
    rollout.object(
        *find(rollout.table, wish.key), wish.key,
        wish.what + " needs a listener that can be steered: a TCP or UDP address without steer = false");
    return;
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    listener_settings const& listener = value.listeners[i];
    if (is_inet(listener) || !listener.steer) continue;
    std::string_view key = find(nodes[i], "from") ? "from" : "address";
    section_rules{nodes[i], "[[listener]]", rollout.report}.object(
        *find(nodes[i], key), key,
        in_quotes(listener.name) + " cannot be steered, as " + wish.what +
            " asks: write steer = false beside it (this one switches at 100)");
  }
}

void check_steering(config_node const& file, settings const& value, section_rules const& rules) {
  auto wish = steering_wish_of(rules, value.rollout);
  if (!wish || !rules.meant("sharing")) return;
  if (value.rollout.sharing != sharing::shared) return check_steered_listeners(file, value, rules, *wish);
  rules.object(*find(rules.table, "sharing"), "sharing",
               wish->what + " needs steering: expected \"auto\" or \"steered\", found \"shared\"");
}

void check_draining(section_rules const& rules, rollout_settings const& rollout) {
  config_node const* most = rules.given("max-draining");
  if (!most || !rules.meant("sharing") || rollout.sharing == sharing::shared) return;
  if (rollout.max_draining <= limit::steered_draining) return;
  rules.object(*most, "max-draining",
               "expected at most " + std::to_string(limit::steered_draining) +
                   " where sharing is not \"shared\", found " + std::to_string(rollout.max_draining));
}

// ---- what steps choose

void check_selection(config_node const& step, std::string_view key, std::string_view section,
                     std::vector<std::string_view> const& names, config_report& report) {
  config_node const* list = find(step, key);
  auto const* items = list ? std::get_if<config_list>(&list->value) : nullptr;
  for (std::size_t i = 0; items && i < items->size(); ++i) {
    config_node const& item = (*items)[i];
    auto const* name = std::get_if<std::string>(&item.value);
    if (!name || !report.sound(item.at) || std::ranges::find(names, *name) != names.end()) continue;
    std::string_view meant = nearest(*name, names);
    report.add(item.at, "[rollout] steps " + std::string(key) + ": no " + std::string(section) +
                            " is called " + in_quotes(*name) +
                            (meant.empty() ? "" : ": did you mean " + in_quotes(meant) + "?"));
  }
}

template <class Settings>
std::vector<std::string_view> names_of(std::vector<Settings> const& all) {
  std::vector<std::string_view> names;
  for (auto const& one : all) names.push_back(one.name);
  return names;
}

}  // namespace

void check_selections(config_node const& file, settings const& value, config_report& report) {
  config_node const* rollout = find(file, "rollout");
  config_node const* steps = rollout ? find(*rollout, "steps") : nullptr;
  auto const* nodes = steps ? std::get_if<config_list>(&steps->value) : nullptr;
  for (std::size_t i = 0; nodes && i < nodes->size(); ++i) {
    check_selection((*nodes)[i], "checks", "[[check]]", names_of(value.checks), report);
    check_selection((*nodes)[i], "metrics", "[[metric]]", names_of(value.metrics), report);
  }
}

void check_rollout(config_node const& file, settings& value, config_report& report) {
  config_node const* table = find(file, "rollout");
  if (!table) return;
  section_rules rules{*table, "[rollout]", report};
  rollout_settings& rollout = value.rollout;
  if (rules.meant("strategy")) {
    check_owners(rules, rollout.strategy);
    auto instances = instances_of(file, value, report);
    if (rollout.strategy == strategy::canary) check_canary(rules, rollout, instances);
    if (rollout.strategy == strategy::rolling) check_rolling(rules, rollout, instances);
    // Two releases cannot be compared by clients that see both.
    if (rollout.strategy == strategy::experiment && !find(*table, "sticky")) rollout.sticky = true;
  }
  check_steering(file, value, rules);
  check_draining(rules, rollout);
}

}  // namespace handoff
