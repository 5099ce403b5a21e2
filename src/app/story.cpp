#include "story.hpp"

#include <algorithm>

namespace handoff {

namespace {

std::string rollout_text(rollout_number n) { return "rollout " + std::to_string(number(n)); }

std::string instance_text(fact const& f) {
  return f.instance ? "instance " + to_string(*f.instance) : "an instance";
}

std::string tell_verdict(fact const& f) {
  std::string text = rollout_text(f.rollout) + ": " + to_string(*f.verdict);
  return f.generation == no_generation ? text : text + ", " + generation_text(f.generation);
}

std::string tell_started(fact const& f, state const& s) {
  std::string text = rollout_text(f.rollout) + " begins (" + f.detail + ")";
  generation const* live = s.with_role(role::live);
  return live == nullptr ? text : text + ", " + generation_text(live->number) + " serves on";
}

std::string tell_holding(fact const& f) {
  std::string text =
      generation_text(f.generation) + " takes " + spell(f.weight.value_or(no_weight)) + " of the traffic";
  return text + (f.wait ? " for " + spell(*f.wait) : " until it is promoted");
}

std::string with_suspect(std::string text, fact const& f) {
  return f.generation == no_generation ? text : text + ", suspected: " + generation_text(f.generation);
}

std::string tell_reopened(fact const& f, listener_names const& names) {
  return with_suspect("listener '" + names(f.listener) + "' was shut down by a service and is open again", f);
}

std::string tell_restored(fact const& f, listener_names const& names) {
  return with_suspect("the steering program of listener '" + names(f.listener) +
                          "' did not choose any more: a service took it away; it is back",
                      f);
}

bool is_waiting(instance const& i) {
  return i.phase == instance_phase::launching || i.phase == instance_phase::starting;
}

std::optional<waiting> waits_for_instance(generation const& g) {
  for (auto const& i : g.instances)
    if (is_waiting(i)) return waiting{"instance " + to_string(i.id) + " to be ready", i.until};
  for (auto const& i : g.instances)
    if (i.phase == instance_phase::queued)
      return waiting{"instance " + to_string(i.id) + " to be started", i.until};
  return {};
}

std::optional<waiting> waits_for_command(state const& s) {
  for (auto const& c : s.commands) {
    if (c.what == command::purpose::hook)
      return waiting{"the " + std::string(to_string(c.at)) + " hook", c.deadline};
    if (c.what == command::purpose::check && s.rollout && !is_holding(*s.rollout))
      return waiting{"check '" + s.rollout->policy.checks[c.check].name + "'", c.deadline};
  }
  return {};
}

std::optional<waiting> waits_for_hold(rollout const& r) {
  if (r.paused) return waiting{"resume", {}};
  if (waits_for_a_person(r)) return waiting{"promote or abort", {}};
  if (!is_holding(r) || !r.hold_until) return {};
  if (r.gate_until) return waiting{"a metric to be decided", r.gate_until};
  return waiting{"the end of " + stage_of(r), r.hold_until};
}

std::optional<waiting> waits_for_drain(state const& s) {
  std::optional<waiting> found;
  for (auto const& g : s.generations) {
    if (g.role != role::draining) continue;
    for (auto const& i : g.instances)
      if (i.is_running() && (!found || *found->until < leaves_by(g, i)))
        found = {generation_text(g.number) + " to drain", leaves_by(g, i)};
  }
  return found;
}

}  // namespace

std::string generation_text(generation_number n) { return "generation " + std::to_string(number(n)); }

std::string tell(fact const& f, state const& s, listener_names const& names) {
  std::string because = f.detail.empty() ? "" : ": " + f.detail;
  switch (f.kind) {
    case fact_kind::queued:
      return rollout_text(f.rollout) + " waits for the one under way (" + f.detail + ")";
    case fact_kind::started:
      return tell_started(f, s);
    case fact_kind::stage:
      return rollout_text(f.rollout) + because;
    case fact_kind::serving:
      return generation_text(f.generation) + " serves" + (f.wait ? ", watched for " + spell(*f.wait) : "");
    case fact_kind::holding:
      return tell_holding(f);
    case fact_kind::weighted:
      return generation_text(f.generation) + " takes " + spell(f.weight.value_or(no_weight)) +
             " of the traffic, set by hand";
    case fact_kind::paused:
      return rollout_text(f.rollout) + " is paused" + because;
    case fact_kind::resumed:
      return rollout_text(f.rollout) + " goes on";
    case fact_kind::verdict:
      return tell_verdict(f);
    case fact_kind::settled:
      return rollout_text(f.rollout) + " has settled";
    case fact_kind::instance_started:
      return instance_text(f) + " started";
    case fact_kind::instance_ready:
      return instance_text(f) + " is ready";
    case fact_kind::instance_exited:
      return instance_text(f) + " ended" + because;
    case fact_kind::instance_restarting:
      return instance_text(f) + " starts again in " + spell(f.wait.value_or(duration{})) + because;
    case fact_kind::instance_killed:
      return instance_text(f) + " is killed" + because;
    case fact_kind::draining:
      return generation_text(f.generation) + " drains, for at most " + spell(f.wait.value_or(duration{}));
    case fact_kind::standby:
      return generation_text(f.generation) + " stands by for " + spell(f.wait.value_or(duration{}));
    case fact_kind::gone:
      return generation_text(f.generation) + " is gone";
    case fact_kind::degraded:
      return "degraded" + because;
    case fact_kind::recovered:
      return "no longer degraded";
    case fact_kind::listener_reopened:
      return tell_reopened(f, names);
    case fact_kind::steering_restored:
      return tell_restored(f, names);
    case fact_kind::note:
      return f.detail;
    case fact_kind::stopping:
      return "stopping: all generations drain";
  }
  return f.detail;
}

service_state overall(state const& s) {
  if (s.lifecycle != lifecycle::running) return service_state::stopping;
  if (s.degraded) return service_state::degraded;
  if (s.with_role(role::live) == nullptr) return service_state::starting;
  return s.rollout ? service_state::upgrading : service_state::serving;
}

std::string_view to_string(service_state st) {
  constexpr std::string_view names[] = {"starting", "serving", "upgrading", "degraded", "stopping"};
  return names[static_cast<std::size_t>(st)];
}

std::optional<waiting> waits_for(state const& s) {
  if (s.rollout) {
    if (s.rollout->phase == rollout_phase::waiting_for_room) return waits_for_drain(s);
    if (auto command = waits_for_command(s)) return command;
    if (auto const* candidate = s.with_role(role::candidate))
      if (auto instance = waits_for_instance(*candidate)) return instance;
    return waits_for_hold(*s.rollout);
  }
  bool repairs = s.with_role(role::live) != nullptr;
  if (s.retry_at)
    return waiting{repairs ? "the next try to repair live" : "the next try to start", s.retry_at};
  if (auto const* live = s.with_role(role::live))
    if (auto instance = waits_for_instance(*live)) return instance;
  return waits_for_drain(s);
}

std::string summarize(state const& s) {
  generation const* live = s.with_role(role::live);
  generation const* candidate = s.with_role(role::candidate);
  std::string text = live == nullptr ? "nothing serves yet" : generation_text(live->number) + " serves";
  if (s.lifecycle != lifecycle::running) text = "stopping";
  if (s.rollout) {
    text += ", " + rollout_text(s.rollout->number) + " under way";
    if (candidate != nullptr) text += " to " + generation_text(candidate->number);
    text += " (" + stage_of(*s.rollout) + ")";
  }
  if (auto waited = waits_for_drain(s); waited && !s.rollout) text += ", waits for " + waited->what;
  return s.degraded ? "degraded: " + text : text;
}

}  // namespace handoff
