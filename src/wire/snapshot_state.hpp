// The state of the core, for snapshots. Only wire/snapshot.cpp includes it.
#pragma once

#include <wire/snapshot_settings.hpp>

namespace handoff {

HANDOFF_KEPT(check_policy, name, interval, timeout, failures, during_bake)
HANDOFF_KEPT(metric_policy, name, kind, source, interval, timeout, max, ratio, confidence, least)
HANDOFF_KEPT(operator_policy, restart, rollout, checks, metrics, hooks)
HANDOFF_KEPT(generation_policy, instances, when, ready_timeout, extend_max, probe_interval, alive_for,
             drain_timeout, kill_timeout, watchdog, steered, slots, settle)
HANDOFF_KEPT(instance_id, generation, index, incarnation)
HANDOFF_KEPT(instance, id, phase, until, launched_at, trying_since, watchdog_due, watchdog, probe, probe_at,
             probe_failure, failures, restarts, stopped)

inline void write_members(cbor_writer& to, crash_history const& crashes) {
  write_value(to, crashes.recent());
}
inline void from_json(nlohmann::json const& from, crash_history& crashes) {
  std::vector<instant> recent;
  read_value(from, recent);
  crashes = crash_history(std::move(recent));
}

HANDOFF_KEPT(generation, number, policy, role, instances, crashes, dismissed_by, dismissed_at, standby_until,
             served, candidate_crashes)
HANDOFF_KEPT(check_progress, running, next_run, failures, passed)
HANDOFF_KEPT(flow_look, counter, then, of)
HANDOFF_KEPT(measurement::memory, count, failures, mean, squares, is_rate, counters, flow)

inline void write_members(cbor_writer& to, measurement const& m) { write_value(to, m.known()); }
inline void from_json(nlohmann::json const& from, measurement& m) {
  m = measurement(from.get<measurement::memory>());
}

HANDOFF_KEPT(judged, is, why)
HANDOFF_KEPT(metric_progress, of_candidate, of_live, next_run, candidate, live, trouble, unread, last)
HANDOFF_KEPT(experiment_wish, weight)
HANDOFF_KEPT(hook_step, at)
HANDOFF_KEPT(start_step, instances)
HANDOFF_KEPT(check_step, checks)
HANDOFF_KEPT(weight_step, weight)
HANDOFF_KEPT(hold_step, at, time, checks, metrics)
HANDOFF_KEPT(stop_step, instances)

constexpr std::array<char const*, 6> kinds_of_step{"hook", "start", "check", "weight", "hold", "stop"};

template <>
struct writing<plan_step> {
  static void from(cbor_writer& to, plan_step const& step) {
    to.begin_map(1);
    std::visit([&](auto const& s) { write_member(to, kinds_of_step.at(step.index()), s); }, step);
  }
};

}  // namespace handoff

template <>
struct nlohmann::adl_serializer<handoff::plan_step> {
  static constexpr auto const& kinds = handoff::kinds_of_step;

  static void from_json(json const& from, handoff::plan_step& step) { read<0>(from, step); }

 private:
  template <std::size_t Index>
  static void read(json const& from, handoff::plan_step& step) {
    if constexpr (Index == kinds.size())
      throw std::invalid_argument("unknown step of a plan");
    else if (auto found = from.find(kinds[Index]); found != from.end())
      step = found->get<std::variant_alternative_t<Index, handoff::plan_step>>();
    else
      read<Index + 1>(from, step);
  }
};

namespace handoff {

HANDOFF_KEPT(rollout, number, cause, source, wish, phase, candidate, plan, position, entered, started, policy,
             is_experiment, weight, hold_until, held, gate_skipped, gate_until, skips_holds, paused, served,
             behind, hook, checks, metrics)
HANDOFF_KEPT(trigger, number, cause, source, wish)
HANDOFF_KEPT(command, number, what, at, check, metric, instance, generation, rollout, deadline)
HANDOFF_KEPT(share, generation, weight)
HANDOFF_KEPT(routed_network, from, to)
HANDOFF_KEPT(traffic_split, fallback, shares, routes, sticky)
HANDOFF_KEPT(state, policy, lifecycle, generations, rollout, pending, commands, previous, last_generation,
             last_rollout, last_command, deaf_up_to, split, retry_at, failed_starts, degraded, preparing)

}  // namespace handoff
