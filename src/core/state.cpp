#include "state.hpp"

#include <algorithm>

namespace handoff {

namespace {

template <class Generations, class Predicate>
auto* find_in(Generations& all, Predicate matches) {
  auto found = std::ranges::find_if(all, matches);
  return found == all.end() ? nullptr : &*found;
}

// Collects the earliest of many moments.
struct earliest {
  std::optional<instant> at;
  void consider(instant moment) { at = at ? std::min(*at, moment) : moment; }
};

void consider(earliest& e, instance const& i, readiness when, bool launcher_is_free) {
  switch (i.phase) {
    case instance_phase::queued:
      if (launcher_is_free) e.consider(i.until);
      break;
    case instance_phase::starting:
      if (when == readiness::alive || (is_probed(when) && i.probe == command_number{}))
        e.consider(i.probe_at);
      e.consider(i.until);
      break;
    case instance_phase::ready:
      if (i.watchdog) e.consider(i.watchdog_due);
      break;
    case instance_phase::launching:
    case instance_phase::settling:
    case instance_phase::draining:
    case instance_phase::killed:
      e.consider(i.until);
      break;
    case instance_phase::gone:
      break;
  }
}

void consider(earliest& e, rollout const& r) {
  if (r.phase != rollout_phase::executing || r.position >= r.plan.size() || !r.entered) return;
  if (is_holding(r)) {
    if (!r.held && r.hold_until) e.consider(*r.hold_until);
    if (r.gate_until) e.consider(*r.gate_until);
    for (std::size_t n = 0; n < r.metrics.size(); ++n)
      if (is_measured(r, n) && !r.metrics[n].is_running()) e.consider(r.metrics[n].next_run);
  }
  for (std::size_t n = 0; n < r.checks.size(); ++n)
    if (is_watched(r, n) && r.checks[n].running == command_number{}) e.consider(r.checks[n].next_run);
}

}  // namespace

generation* state::with_role(handoff::role wanted) {
  return find_in(generations, [&](auto const& g) { return g.role == wanted; });
}
generation const* state::with_role(handoff::role wanted) const {
  return find_in(generations, [&](auto const& g) { return g.role == wanted; });
}
generation* state::find(generation_number n) {
  return find_in(generations, [&](auto const& g) { return g.number == n; });
}
generation const* state::find(generation_number n) const {
  return find_in(generations, [&](auto const& g) { return g.number == n; });
}

instance* state::find(instance_id const& id) {
  generation* g = find(id.generation);
  if (g == nullptr) return nullptr;
  return find_in(g->instances, [&](auto const& i) { return i.id == id; });
}

std::size_t state::draining() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(generations, [](auto const& g) { return g.role == role::draining; }));
}

std::optional<instant> next_deadline(state const& s) {
  earliest e;
  bool launching = std::ranges::any_of(s.generations, [](auto const& g) {
    return std::ranges::any_of(g.instances,
                               [](auto const& i) { return i.phase == instance_phase::launching; });
  });
  for (auto const& g : s.generations) {
    for (auto const& i : g.instances) consider(e, i, g.policy.when, !launching);
    if (g.role == role::standby) e.consider(g.standby_until);
    bool calming =
        s.degraded && g.role == role::live && !s.is_deaf(g) &&
        std::ranges::all_of(g.instances, [](auto const& i) { return i.phase == instance_phase::ready; });
    if (calming) e.consider(g.crashes.calm_at(s.policy.restart));
  }
  for (auto const& c : s.commands) e.consider(c.deadline);
  if (s.rollout) consider(e, *s.rollout);
  if (s.retry_at) e.consider(*s.retry_at);
  return e.at;
}

bool has_room(state const& s) {
  bool has_slot = std::ranges::all_of(s.generations, [&](auto const& g) {
    return !g.policy.steered || s.generations.size() < g.policy.slots;
  });
  return has_slot && s.draining() < s.policy.rollout.max_draining;
}

bool is_holding(rollout const& r) {
  if (r.phase != rollout_phase::executing || !r.entered || r.position >= r.plan.size()) return false;
  return std::holds_alternative<hold_step>(r.plan[r.position]);
}

instant leaves_by(generation const& g, instance const& i) {
  if (i.phase != instance_phase::settling) return i.until;
  return std::max(g.dismissed_at + g.policy.drain_timeout, i.until + g.policy.kill_timeout);
}

bool is_watched(rollout const& r, std::size_t check) {
  if (r.phase != rollout_phase::executing || !r.entered || r.position >= r.plan.size()) return false;
  auto const& policy = r.policy.checks[check];
  if (auto const* before = std::get_if<check_step>(&r.plan[r.position]))
    return is_selected(before->checks, policy.name) && !r.checks[check].passed;
  auto const* hold = std::get_if<hold_step>(&r.plan[r.position]);
  return hold != nullptr && is_selected(hold->checks, policy.name) && policy.during_bake;
}

bool is_asked(rollout const& r, std::size_t metric) {
  auto const& policy = r.policy.metrics[metric];
  auto const* hold = std::get_if<hold_step>(&r.plan[r.position]);
  if (hold == nullptr || !is_selected(hold->metrics, policy.name)) return false;
  return !policy.ratio || hold->at != full_weight || r.weight != full_weight;
}

bool is_measured(rollout const& r, std::size_t metric) {
  return is_asked(r, metric) && (!r.policy.metrics[metric].ratio || r.weight != full_weight);
}

bool waits_for_a_person(rollout const& r) { return r.paused || (is_holding(r) && !r.held && !r.hold_until); }

std::string stage_of(rollout const& r) {
  if (r.phase == rollout_phase::waiting_for_room) return "waiting for a generation to drain";
  if (r.phase == rollout_phase::preparing || r.position >= r.plan.size()) return "preparing";
  auto const* hold = std::get_if<hold_step>(&r.plan[r.position]);
  if (hold != nullptr && r.weight) return describe(hold_step{*r.weight, hold->time});  // as set by hand
  return describe(r.plan[r.position]);
}

std::string_view to_string(instance_phase phase) {
  constexpr std::string_view names[] = {"queued",   "launching", "starting", "ready",
                                        "settling", "draining",  "killed",   "gone"};
  return names[static_cast<std::size_t>(phase)];
}

std::string_view to_string(role r) {
  constexpr std::string_view names[] = {"candidate", "live", "standby", "draining"};
  return names[static_cast<std::size_t>(r)];
}

std::string_view to_string(cause c) {
  constexpr std::string_view names[] = {"start", "HUP", "request", "retry", "rollback", "repair"};
  return names[static_cast<std::size_t>(c)];
}

}  // namespace handoff
