// Any bytes as a configuration: read without a crash, with problems that can be shown, or with settings in
// bounds.
#include "support.hpp"

#include <base/text.hpp>
#include <wire/config_address.hpp>
#include <wire/config_network.hpp>
#include <wire/config_toml.hpp>
#include <wire/config_tree.hpp>
#include <wire/config_values.hpp>
#include <wire/series_selector.hpp>

#include <algorithm>
#include <set>
#include <string_view>

namespace {

using namespace handoff;

bool in_bounds(duration value) { return value >= duration{0} && value <= limit::longest; }

std::size_t depth(config_node const& node) {
  std::size_t deepest = 0;
  if (auto const* items = std::get_if<config_list>(&node.value)) {
    for (auto const& item : *items) deepest = std::max(deepest, depth(item));
  } else if (auto const* entries = std::get_if<config_table>(&node.value)) {
    for (auto const& entry : *entries) deepest = std::max(deepest, depth(entry.node));
  }
  return deepest + 1;
}

void check_problems(config_reading const& reading, std::string_view text) {
  auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  unsigned last = 0;
  for (config_problem const& problem : reading.problems) {
    require(problem.line <= lines && problem.line >= last);
    require(!problem.what.empty() && printable(problem.what, problem.what.size()) == problem.what);
    last = problem.line;
  }
  require(reading.problems.size() <= limit::config_problems + 1);
}

// The rollout has what its strategy needs, in bounds, and nothing of another strategy.
void check_rollout(rollout_settings const& rollout, std::uint32_t instances) {
  rollout_settings const none;
  require(in_bounds(rollout.bake) && in_bounds(rollout.standby) && in_bounds(rollout.retire_after));
  require(rollout.retire_after > duration{0});
  bool shared = rollout.sharing == sharing::shared;
  require(rollout.max_draining >= 1 &&
          rollout.max_draining <= (shared ? limit::draining : limit::steered_draining));

  bool canary = rollout.strategy == strategy::canary;
  require(canary != rollout.steps.empty() && rollout.steps.size() <= limit::steps);
  require(rollout.canary_instances <= (canary ? instances : 0));
  weight last = no_weight;
  for (canary_step const& step : rollout.steps) {
    require(step.weight >= last && step.weight <= full_weight && last < full_weight);
    require(in_bounds(step.hold.value_or(duration{0})));
    last = step.weight;
  }
  if (rollout.strategy == strategy::rolling) {
    require(rollout.max_surge <= limit::instances && rollout.max_unavailable < instances);
    require(rollout.max_surge + rollout.max_unavailable > 0);
  } else {
    require(rollout.max_surge == none.max_surge && rollout.max_unavailable == none.max_unavailable);
  }
  bool blue_green = rollout.strategy == strategy::blue_green;
  require(blue_green || (!rollout.auto_promote && rollout.standby == none.standby));
  bool experiment = rollout.strategy == strategy::experiment;
  require(experiment || rollout.experiment_weight == none.experiment_weight);
  require(rollout.experiment_weight <= full_weight && (!experiment || rollout.bake == none.bake));
}

// What only steering can do is asked for only where it can be had.
void check_steering(settings const& value) {
  rollout_settings const& rollout = value.rollout;
  bool needed = rollout.strategy == strategy::blue_green || rollout.strategy == strategy::canary ||
                rollout.strategy == strategy::experiment || rollout.sticky || !rollout.routes.empty();
  require(!needed || rollout.sharing != sharing::shared);
  bool any = false;
  for (listener_settings const& listener : value.listeners) {
    require(in_bounds(listener.flow_timeout) && listener.flow_timeout > duration{0});
    require(listener.connection_id_byte.value_or(0) < limit::connection_id_bytes);
    bool inet = std::holds_alternative<inet_address>(listener.address);
    require(!needed || inet || !listener.steer);
    any = any || (inet && listener.steer);
  }
  require(!needed || any);

  require(rollout.routes.size() <= limit::routes);
  for (route const& one : rollout.routes) {
    auto again = parse_network(network_text(one.from));
    require(again && *again == one.from);
  }
}

// What a probe asks is one generation's alone, and fits into a request.
void check_probe(settings const& value, probe_settings const& probe) {
  auto const* to = [&]() -> listener_settings const* {
    for (auto const& l : value.listeners)
      if (l.name == probe.listener) return &l;
    return nullptr;
  }();
  require(to != nullptr && to->steer && to->type == socket_type::stream);
  auto const* address = std::get_if<inet_address>(&to->address);
  require(address != nullptr && address->port != 0 && value.rollout.sharing != sharing::shared);
  require(in_bounds(probe.timeout) && probe.timeout > duration{0});
  auto again = parse_status_range(status_text(probe.status));
  require(again && *again == probe.status);
  auto breaks_a_line = [](char c) { return static_cast<unsigned char>(c) < ' '; };
  require(probe.path.starts_with('/') && std::ranges::none_of(probe.path, breaks_a_line));
  require(probe.path.find(' ') == std::string::npos && probe.headers.size() <= limit::probe_headers);
  for (auto const& header : probe.headers) require(std::ranges::none_of(header, breaks_a_line));
  require(probe.host.find_first_of("/ @\r\n") == std::string::npos);
}

void check_probes(settings const& value) {
  auto const& ready = value.service.ready;
  require(ready.probe.has_value() == (ready.when == readiness::http || ready.when == readiness::tcp));
  if (ready.probe) check_probe(value, *ready.probe);
  for (check_settings const& check : value.checks) {
    require(!check.name.empty() && check.command.empty() == check.probe.has_value());
    if (check.probe) check_probe(value, *check.probe);
  }
}

// A metric has one source, and the selectors of a page can be read by whoever asks for it.
void check_metrics(settings const& value) {
  for (metric_settings const& m : value.metrics) {
    require(!m.command.empty() + m.probe.has_value() + m.steering.has_value() == 1);
    require((m.max || m.ratio) && m.least > 0 && in_bounds(m.interval) && m.interval > duration{0});
    if (!m.probe) continue;
    check_probe(value, *m.probe);
    page_settings const& page = m.probe->page;
    for (auto const& selector : {page.failures, page.all, page.value, page.mean})
      require(selector.empty() || series_selector::parse(selector).has_value());
    require((m.kind == metric_kind::rate) == !page.failures.empty() &&
            page.failures.empty() == page.all.empty());
  }
}

void check_settings_in_bounds(settings const& value) {
  service_settings const& service = value.service;
  require(!service.name.empty() && service.name.size() <= limit::name_length && service.name[0] != '.');
  require(service.name.find('/') == std::string::npos);
  require(!service.command.empty() && service.command[0].starts_with('/'));
  require(service.instances >= 1 && service.instances <= limit::instances);
  require(in_bounds(service.ready.timeout) && service.ready.extend_max >= service.ready.timeout);
  require((service.ready.when == readiness::exec) == !service.ready.command.empty());
  require(in_bounds(service.drain.timeout) && in_bounds(service.drain.kill_timeout));
  require(value.restart.backoff_min <= value.restart.backoff_max && value.restart.backoff_min > duration{0});

  require(!value.listeners.empty() && value.listeners.size() <= limit::listeners);
  std::set<std::string_view> names;
  for (listener_settings const& listener : value.listeners) {
    require(names.insert(listener.name).second && listener.name.find(':') == std::string::npos);
    if (std::holds_alternative<systemd_address>(listener.address)) continue;
    auto again = parse_address(to_string(listener));
    require(again && again->address == listener.address);
  }
  check_rollout(value.rollout, service.instances);
  check_steering(value);
  check_probes(value);
  check_metrics(value);
  require(value.hooks.size() <= hook_kinds);
}

void check_durations(std::string_view text) {
  auto value = parse_duration(text);
  if (!value) return;
  auto again = parse_duration(duration_text(*value));
  require(again && *again == *value);
}

void check_networks(std::string_view text) {
  auto value = parse_network(text);
  if (!value) return;
  auto again = parse_network(network_text(*value));
  require(again && *again == *value && value->prefix <= 128);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto text = as_text(data, size);
  check_durations(text);
  check_networks(text);
  if (auto tree = parse_toml(text)) {
    // A header, then a value in each of the nested values, with a key before each.
    require(depth(*tree) <= limit::config_key_parts * (limit::config_nesting + 3));
  }
  config_reading reading = read_config(text);
  check_problems(reading, text);
  if (reading.problems.empty()) check_settings_in_bounds(reading.value);
  return 0;
}
