#include "step.hpp"

#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

void on(turn& t, time_passed const&) {
  expire_instances(t);
  expire_commands(t);
  expire_rollout(t);
  expire_standby(t);
  expire_retry(t);
}

std::string why_degraded(state const& s) {
  if (s.with_role(role::live) == nullptr) return "nothing serves yet: the start fails and is tried again";
  generation const& live = *s.with_role(role::live);
  std::string name = "generation " + std::to_string(number(live.number));
  return name + (s.is_deaf(live) ? " holds a socket that was replaced, and its repair fails"
                                 : " crashes again and again");
}

bool is_degraded(turn const& t) {
  generation const* live = t.s.with_role(role::live);
  if (t.s.lifecycle != lifecycle::running) return false;
  if (live == nullptr) return t.s.failed_starts > 0;
  if (t.s.is_deaf(*live) && t.s.failed_starts > 0) return true;
  if (live->crashes.exhausted(t.now, t.s.policy.restart)) return true;
  bool calm = all_ready(*live) && live->crashes.calm_at(t.s.policy.restart) <= t.now;
  return t.s.degraded && !calm && !live->crashes.recent().empty();
}

void update_degraded(turn& t) {
  bool now_degraded = is_degraded(t);
  if (std::exchange(t.s.degraded, now_degraded) == now_degraded) return;
  if (now_degraded)
    t.tell({.kind = fact_kind::degraded, .detail = why_degraded(t.s)});
  else
    t.tell({.kind = fact_kind::recovered});
}

bool finish_when_empty(turn& t) {
  bool empty = t.s.lifecycle == lifecycle::stopping && t.s.generations.empty() && t.s.commands.empty();
  if (!empty) return false;
  t.s.lifecycle = lifecycle::stopped;
  return true;
}

// What follows from the new state by itself, until nothing does.
void settle(turn& t) {
  while (remove_gone(t) || advance(t) || begin_pending(t) || launch_next(t) || finish_when_empty(t)) continue;
  hold_longer(t);
  run_due_checks(t);
  run_due_metrics(t);
  run_due_probes(t);
  update_degraded(t);
}

// The split is a function of the state, and traffic moves before anybody is told to leave or forgotten.
void move_traffic(turn& t) {
  if (t.s.lifecycle != lifecycle::running) return;
  traffic_split wanted = split_of(t.s);
  if (wanted == t.s.split) return;
  t.s.split = wanted;
  t.actions.insert(t.actions.begin(), act::split_traffic{std::move(wanted)});
}

}  // namespace

outcome step(state& s, event const& e) {
  outcome out;
  turn t{e.at, s, out.actions, out.facts, out.answers};
  std::visit([&](auto const& happened) { on(t, happened); }, e.what);
  settle(t);
  move_traffic(t);
  return out;
}

}  // namespace handoff
