// One instance's life: launched in its turn, ready or late, restarted when it was live, gone when it was
// dismissed.
#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

constexpr duration resource_retry{50};  // after EAGAIN

void stop_probe(turn& t, instance& i) {
  if (i.probe == command_number{}) return;
  cancel(t, i.probe);
  i.probe = {};
}

void kill(turn& t, instance& i, duration again_after, std::string why) {
  stop_probe(t, i);
  i.phase = instance_phase::killed;
  i.until = t.now + again_after;
  t.perform(act::kill_instance{i.id});
  t.tell({.kind = fact_kind::instance_killed,
          .generation = i.id.generation,
          .instance = i.id,
          .detail = std::move(why)});
}

// At the latest when its drain is over, with the time that a kill needs.
void tell_to_drain(turn& t, generation const& g, instance& i) {
  i.phase = instance_phase::draining;
  i.until = t.now + g.policy.drain_timeout;
  if (g.role == role::draining && g.policy.settle > duration::zero())
    i.until = std::max(g.dismissed_at + g.policy.drain_timeout, t.now + g.policy.kill_timeout);
  t.perform(act::ask_to_drain{i.id});
}

void dismiss(turn& t, generation const& g, instance& i, duration settle) {
  switch (i.phase) {
    case instance_phase::queued:
      i.phase = instance_phase::gone;
      break;
    case instance_phase::launching:
      // The launcher would swallow a signal that is meant for the service.
      kill(t, i, g.policy.kill_timeout, "dismissed before it was the service");
      break;
    case instance_phase::ready:
      if (settle > duration::zero()) {
        i.phase = instance_phase::settling;
        i.until = t.now + settle;
        break;
      }
      [[fallthrough]];
    case instance_phase::starting:
      stop_probe(t, i);
      tell_to_drain(t, g, i);
      break;
    case instance_phase::settling:
    case instance_phase::draining:
    case instance_phase::killed:
    case instance_phase::gone:
      break;
  }
}

bool is_settling(generation const& g) {
  return std::ranges::any_of(g.instances, [](auto const& i) { return i.phase == instance_phase::settling; });
}

// Slots close before their takers are told: a datagram that comes after the word would be read by nobody.
void end_settling(turn& t, generation& g) {
  if (g.policy.steered) t.perform(act::close_slots{g.number});
  for (auto& i : g.instances)
    if (i.phase == instance_phase::settling) tell_to_drain(t, g, i);
}

void requeue(turn& t, generation const& g, instance& i, std::string why) {
  if (t.now - i.launched_at >= t.s.policy.restart.window) i.failures = 0;
  ++i.failures;
  ++i.restarts;
  duration wait = backoff(t.s.policy.restart, i.failures);
  i.phase = instance_phase::queued;
  i.until = t.now + wait;
  i.trying_since.reset();
  t.tell({.kind = fact_kind::instance_restarting,
          .generation = g.number,
          .instance = i.id,
          .detail = std::move(why),
          .wait = wait});
}

// "exited 1 before ready", "killed by SIGSEGV while baking".
std::string placed(turn const& t, instance_phase at, std::string const& reason) {
  if (at == instance_phase::launching || at == instance_phase::starting) return reason + " before ready";
  return t.s.rollout ? reason + " during " + stage_of(*t.s.rollout) : reason;
}

// An instance of a generation that should be running ended, for whatever reason.
void fell(turn& t, generation& g, instance& i, std::string const& reason) {
  stop_probe(t, i);
  if (g.role == role::live || g.role == role::standby) {
    g.crashes.add(t.now, t.s.policy.restart);
    return requeue(t, g, i, reason);
  }
  std::string why = placed(t, i.phase, reason);
  bool forgiven = ++g.candidate_crashes <= t.s.policy.rollout.candidate_restarts;
  if (forgiven) return requeue(t, g, i, why);
  i.phase = instance_phase::gone;
  roll_back(t, why);
}

void make_ready(turn& t, instance& i) {
  stop_probe(t, i);
  i.phase = instance_phase::ready;
  i.trying_since.reset();
  if (i.watchdog) i.watchdog_due = t.now + *i.watchdog;
  t.perform(act::restore_backlogs{});
  t.tell({.kind = fact_kind::instance_ready, .generation = i.id.generation, .instance = i.id});
}

// What a live instance does not do in time it is killed for, and restarted; a candidate is rolled back.
void miss(turn& t, generation& g, instance& i, std::string const& what) {
  if (g.role == role::candidate) return roll_back(t, what);
  kill(t, i, g.policy.kill_timeout, what);
}

void bite(turn& t, generation& g, instance& i, std::string const& what) {
  stop_probe(t, i);
  i.phase = instance_phase::killed;
  i.until = t.now + g.policy.kill_timeout;
  t.perform(act::abort_instance{i.id});
  t.tell({.kind = fact_kind::instance_killed, .generation = g.number, .instance = i.id, .detail = what});
  if (g.role == role::candidate) roll_back(t, what);
}

// ": what the last probe found".
std::string because(instance const& i) { return i.probe_failure.empty() ? "" : ": " + i.probe_failure; }

void expire(turn& t, generation& g, instance& i) {
  switch (i.phase) {
    case instance_phase::launching:
    case instance_phase::starting:
      if (i.phase == instance_phase::starting && g.policy.when == readiness::alive && i.probe_at <= t.now)
        return make_ready(t, i);
      if (i.until <= t.now) miss(t, g, i, "not ready in " + spell(t.now - i.launched_at) + because(i));
      break;
    case instance_phase::ready:
      if (i.watchdog && i.watchdog_due <= t.now) bite(t, g, i, "watchdog: silent for " + spell(*i.watchdog));
      break;
    case instance_phase::settling:
      if (i.until <= t.now) end_settling(t, g);
      break;
    case instance_phase::draining:
      if (i.until <= t.now)
        kill(t, i, g.policy.kill_timeout, "still there after " + spell(g.policy.drain_timeout));
      break;
    case instance_phase::killed:
      if (i.until <= t.now) kill(t, i, g.policy.kill_timeout, "still there after it was killed");
      break;
    case instance_phase::queued:
    case instance_phase::gone:
      break;
  }
}

void launch(turn& t, generation& g, instance& i) {
  ++i.id.incarnation;
  i.phase = instance_phase::launching;
  i.stopped = stopping::no;
  i.launched_at = t.now;
  if (!i.trying_since) i.trying_since = t.now;
  i.until = t.now + g.policy.ready_timeout;
  i.watchdog = g.policy.watchdog;
  i.probe_at = {};
  i.probe_failure.clear();
  t.perform(act::launch{i.id});
}

generation* owner(turn& t, instance_id const& id) { return t.s.find(id.generation); }

// An instance of live that a rolling upgrade had told to leave has ended.
void left(turn& t, instance& i) {
  bool is_wanted = i.stopped == stopping::wanted_again;
  i.stopped = is_wanted ? stopping::no : stopping::yes;
  i.phase = is_wanted ? instance_phase::queued : instance_phase::gone;
  i.until = t.now;
  i.trying_since.reset();
}

}  // namespace

bool all_ready(generation const& g) {
  return std::ranges::all_of(g.instances, [](auto const& i) { return i.phase == instance_phase::ready; });
}

void dismiss(turn& t, generation& g, rollout_number by) {
  g.role = role::draining;
  g.dismissed_by = by;
  g.dismissed_at = t.now;
  bool succeeded = t.s.lifecycle == lifecycle::running;  // else there is nobody to leave traffic to
  duration settle = succeeded ? g.policy.settle : duration{};
  bool settles = settle > duration::zero() && std::ranges::any_of(g.instances, [](auto const& i) {
                   return i.phase == instance_phase::ready;
                 });
  if (g.policy.steered && !settles) t.perform(act::close_slots{g.number});
  for (auto& i : g.instances) dismiss(t, g, i, settle);
  if (settles) t.perform(act::settle_traffic{g.number, t.now + settle});
  bool running = std::ranges::any_of(g.instances, [](auto const& i) { return i.is_running(); });
  if (running)
    t.tell(
        {.kind = fact_kind::draining, .rollout = by, .generation = g.number, .wait = g.policy.drain_timeout});
}

void stop_instances(turn& t, generation& live, std::uint32_t remaining) {
  std::uint32_t staying = 0;
  for (auto& i : live.instances) {
    bool stays = i.stopped == stopping::no && staying < remaining;
    staying += stays;
    if (stays || i.stopped != stopping::no) continue;
    i.stopped = stopping::yes;
    dismiss(t, live, i, duration{});
  }
}

bool have_stopped(generation const& live) {
  return std::ranges::none_of(live.instances,
                              [](auto const& i) { return i.stopped == stopping::yes && i.is_running(); });
}

void want_again(turn& t, generation& live) {
  for (auto& i : live.instances) {
    if (i.stopped != stopping::yes) continue;
    i.stopped = stopping::wanted_again;
    if (i.phase == instance_phase::gone) left(t, i);
  }
}

void kill_everything(turn& t) {
  for (auto& g : t.s.generations)
    for (auto& i : g.instances)
      if (i.is_running()) kill(t, i, g.policy.kill_timeout, "stopped at once");
}

// One launch at a time, live's before the candidate's.
bool launch_next(turn& t) {
  instance* next = nullptr;
  for (auto& g : t.s.generations) {
    for (auto& i : g.instances) {
      if (i.phase == instance_phase::launching) return false;
      if (i.phase != instance_phase::queued || i.until > t.now) continue;
      if (next == nullptr || (g.role == role::live && next->id.generation != g.number)) next = &i;
    }
  }
  if (next == nullptr) return false;
  launch(t, *owner(t, next->id), *next);
  return true;
}

bool remove_gone(turn& t) {
  auto is_gone = [](generation const& g) {
    return g.role == role::draining &&
           std::ranges::all_of(g.instances, [](auto const& i) { return i.phase == instance_phase::gone; });
  };
  auto found = std::ranges::find_if(t.s.generations, is_gone);
  if (found == t.s.generations.end()) return false;
  generation gone = std::move(*found);
  t.s.generations.erase(found);
  if (gone.policy.steered) t.perform(act::remove_slots{gone.number});
  t.tell({.kind = fact_kind::gone, .rollout = gone.dismissed_by, .generation = gone.number});
  if (gone.served && t.s.lifecycle == lifecycle::running)
    run_hook_aside(t, hook::drained, gone.number, gone.dismissed_by);
  forget_if_unneeded(t, gone.number);
  if (gone.dismissed_by != rollout_number{}) tell_settled(t, gone.dismissed_by);
  return true;
}

void expire_instances(turn& t) {
  for (auto& g : t.s.generations)
    for (auto& i : g.instances) expire(t, g, i);
}

void run_due_probes(turn& t) {
  for (auto& g : t.s.generations) {
    if (!is_probed(g.policy.when) || g.role == role::draining) continue;
    for (auto& i : g.instances) {
      bool due = i.phase == instance_phase::starting && i.probe == command_number{} && i.probe_at <= t.now;
      if (!due) continue;
      command probe{.what = command::purpose::probe, .instance = i.id, .generation = g.number};
      if (g.role == role::candidate) probe.rollout = t.s.rollout->number;
      i.probe = run(t, probe, i.until - t.now);
    }
  }
}

void end_of_probe(turn& t, instance_id const& id, std::optional<std::string> const& failure) {
  instance* i = t.s.find(id);
  if (i == nullptr || i->phase != instance_phase::starting) return;
  i->probe = {};
  if (!failure) return make_ready(t, *i);
  // One that was cut off at the ready deadline knows less than those before it.
  if (t.now < i->until || i->probe_failure.empty()) i->probe_failure = *failure;
  i->probe_at = t.now + owner(t, id)->policy.probe_interval;
}

void on(turn& t, launched const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr || i->phase != instance_phase::launching) return;
  i->phase = instance_phase::starting;
  t.tell({.kind = fact_kind::instance_started, .generation = e.id.generation, .instance = e.id});
  i->probe_at = t.now;
  if (owner(t, e.id)->policy.when == readiness::alive) i->probe_at += owner(t, e.id)->policy.alive_for;
}

void on(turn& t, launch_failed const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr || !i->is_running()) return;
  generation& g = *owner(t, e.id);
  t.tell({.kind = fact_kind::instance_exited, .generation = g.number, .instance = e.id, .detail = e.reason});
  if (g.role == role::draining) {
    i->phase = instance_phase::gone;
    return;
  }
  if (i->stopped != stopping::no) return left(t, *i);
  bool try_again = e.transient && t.now - *i->trying_since < g.policy.ready_timeout;
  if (!try_again) {
    if (g.role != role::candidate) return fell(t, g, *i, e.reason);
    i->phase = instance_phase::gone;
    return roll_back(t, e.reason);
  }
  i->phase = instance_phase::queued;
  i->until = t.now + resource_retry;
}

void on(turn& t, became_ready const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr || owner(t, e.id)->policy.when != readiness::notify) return;
  // The word "ready" may overtake the launcher's report: two descriptors, no order between them.
  if (i->phase == instance_phase::launching) on(t, launched{e.id});
  if (i->phase == instance_phase::starting) make_ready(t, *i);
}

void on(turn& t, exited const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr || !i->is_running()) return;
  generation& g = *owner(t, e.id);
  t.tell({.kind = fact_kind::instance_exited, .generation = g.number, .instance = e.id, .detail = e.reason});
  if (g.role != role::draining && i->stopped != stopping::no) return left(t, *i);
  if (g.role != role::draining) return fell(t, g, *i, e.reason);
  stop_probe(t, *i);
  i->phase = instance_phase::gone;
}

void on(turn& t, traffic_settled const& e) {
  generation* g = t.s.find(e.generation);
  if (g != nullptr && is_settling(*g)) end_settling(t, *g);
}

void on(turn& t, extended const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr || i->phase != instance_phase::starting) return;
  instant limit = std::max(i->until, i->launched_at + owner(t, e.id)->policy.extend_max);
  i->until = std::min(limit, std::max(i->until, t.now + e.by));
}

void on(turn& t, watchdog_fed const& e) {
  instance* i = t.s.find(e.id);
  if (i == nullptr) return;
  if (e.interval) i->watchdog = *e.interval > duration::zero() ? e.interval : std::nullopt;
  if (i->watchdog) i->watchdog_due = t.now + *i->watchdog;
}

void on(turn& t, watchdog_pulled const& e) {
  instance* i = t.s.find(e.id);
  bool up = i != nullptr && (i->phase == instance_phase::ready || i->phase == instance_phase::starting);
  if (up) bite(t, *owner(t, e.id), *i, "watchdog: triggered by the service");
}

}  // namespace handoff
