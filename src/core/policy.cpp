#include "policy.hpp"

namespace handoff {

namespace {

// A probe ends by itself, and then says what was late.
constexpr duration last_word = std::chrono::seconds(1);

metric_policy policy_of(metric_settings const& m) {
  auto source = source_of(m);
  return {.name = m.name,
          .kind = m.kind,
          .source = source,
          .interval = m.interval,
          .timeout = m.timeout + (source == metric_source::page ? last_word : duration{}),
          .max = m.max,
          .ratio = m.ratio,
          .confidence = m.confidence,
          .least = m.least};
}

}  // namespace

generation_policy generation_policy_of(service_settings const& s) {
  return {.instances = s.instances,
          .when = s.ready.when,
          .ready_timeout = s.ready.timeout,
          .extend_max = s.ready.extend_max,
          .probe_interval = s.ready.interval,
          .alive_for = s.ready.alive_for,
          .drain_timeout = s.drain.timeout,
          .kill_timeout = s.drain.kill_timeout,
          .watchdog = s.watchdog};
}

operator_policy operator_policy_of(settings const& s) {
  operator_policy policy{
      .restart = s.restart, .rollout = s.rollout, .checks = {}, .metrics = {}, .hooks = {}};
  for (auto const& c : s.checks)
    policy.checks.push_back({c.name, c.interval, c.timeout, c.failures, c.during_bake});
  for (auto const& m : s.metrics) policy.metrics.push_back(policy_of(m));
  for (auto const& h : s.hooks) policy.hooks[static_cast<std::size_t>(h.at)] = h.timeout;
  return policy;
}

}  // namespace handoff
