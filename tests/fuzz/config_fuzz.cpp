// Any bytes as a configuration: read without a crash, with problems that can be shown, or with settings in
// bounds.
#include <base/text.hpp>
#include <wire/config_address.hpp>
#include <wire/config_toml.hpp>
#include <wire/config_tree.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

namespace {

using namespace handoff;

void require(bool holds) {
  if (!holds) std::abort();
}

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

void check_settings_in_bounds(settings const& value) {
  service_settings const& service = value.service;
  require(!service.name.empty() && service.name.size() <= limit::name_length && service.name[0] != '.');
  require(service.name.find('/') == std::string::npos);
  require(!service.command.empty() && service.command[0].starts_with('/'));
  require(service.instances >= 1 && service.instances <= limit::instances);
  require(in_bounds(service.ready.timeout) && service.ready.extend_max >= service.ready.timeout);
  require((service.ready.when == readiness::exec) == !service.ready.command.empty());
  require(in_bounds(service.drain.timeout) && in_bounds(service.drain.kill_timeout));
  require(in_bounds(value.rollout.bake) && value.rollout.max_draining >= 1);
  require(value.restart.backoff_min <= value.restart.backoff_max && value.restart.backoff_min > duration{0});

  require(!value.listeners.empty() && value.listeners.size() <= limit::listeners);
  std::set<std::string_view> names;
  for (listener_settings const& listener : value.listeners) {
    require(names.insert(listener.name).second && listener.name.find(':') == std::string::npos);
    if (std::holds_alternative<systemd_address>(listener.address)) continue;
    auto again = parse_address(to_string(listener));
    require(again && again->address == listener.address);
  }
  for (check_settings const& check : value.checks) require(!check.name.empty() && !check.command.empty());
  require(value.hooks.size() <= hook_kinds);
}

void check_durations(std::string_view text) {
  auto value = parse_duration(text);
  if (!value) return;
  auto again = parse_duration(duration_text(*value));
  require(again && *again == *value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view text(reinterpret_cast<char const*>(data), size);
  check_durations(text);
  if (auto tree = parse_toml(text)) {
    // A header, then a value in each of the nested values, with a key before each.
    require(depth(*tree) <= limit::config_key_parts * (limit::config_nesting + 3));
  }
  config_reading reading = read_config(text);
  check_problems(reading, text);
  if (reading.problems.empty()) check_settings_in_bounds(reading.value);
  return 0;
}
