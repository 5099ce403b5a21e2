// The executor of plans, and verdicts.
#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

template <class Step>
Step const* here(rollout const& r) {
  if (r.phase != rollout_phase::executing || r.position >= r.plan.size()) return nullptr;
  return std::get_if<Step>(&r.plan[r.position]);
}

void tell_stage(turn& t, rollout const& r, std::string stage) {
  t.tell(
      {.kind = fact_kind::stage, .rollout = r.number, .generation = r.candidate, .detail = std::move(stage)});
}

void enter(turn& t, rollout& r, hook_step const& step) {
  duration timeout = *r.policy.hooks[static_cast<std::size_t>(step.at)];
  r.hook =
      run(t, {.what = command::purpose::hook, .at = step.at, .generation = r.candidate, .rollout = r.number},
          timeout);
}

void enter(turn& t, rollout& r, start_step const& step) {
  auto& instances = t.s.find(r.candidate)->instances;
  for (auto index = static_cast<std::uint32_t>(instances.size()); index < step.instances; ++index)
    instances.push_back({.id = {r.candidate, index + 1, 0}, .until = t.now});
}

void enter(turn& t, rollout& r, check_step const& step) {
  for (std::size_t n = 0; n < r.checks.size(); ++n)
    r.checks[n] = {.next_run = t.now, .passed = !is_selected(step.checks, r.policy.checks[n].name)};
}

void enter(turn&, rollout& r, weight_step const& step) { r.weight = step.weight; }

void tell_serving(turn& t, rollout& r, std::optional<duration> watched) {
  if (std::exchange(r.served, true)) return;
  t.tell({.kind = fact_kind::serving, .rollout = r.number, .generation = r.candidate, .wait = watched});
}

void enter(turn& t, rollout& r, hold_step const& step) {
  r.held = r.gate_skipped = r.skips_holds;
  r.hold_until.reset();
  r.gate_until.reset();
  if (step.time) r.hold_until = t.now + *step.time;
  for (std::size_t n = 0; n < r.checks.size(); ++n)
    r.checks[n] = {.next_run = t.now + r.policy.checks[n].interval, .passed = true};
  begin_measuring(t, r);
  if (step.at == full_weight) return tell_serving(t, r, step.time);
  t.tell({.kind = fact_kind::holding,
          .rollout = r.number,
          .generation = r.candidate,
          .wait = step.time,
          .weight = step.at});
}

void enter(turn& t, rollout&, stop_step const& step) {
  if (generation* live = t.s.with_role(role::live)) stop_instances(t, *live, step.instances);
}

bool is_done(state const&, rollout const& r, hook_step const&) { return r.hook == command_number{}; }
bool is_done(state const&, rollout const&, start_step const&) { return true; }  // all_ready() is asked anyway
bool is_done(state const&, rollout const& r, check_step const&) {
  return std::ranges::all_of(r.checks, [](auto const& c) { return c.passed; });
}
bool is_done(state const&, rollout const&, weight_step const&) { return true; }
bool is_done(state const&, rollout const& r, hold_step const&) {
  return r.held && (r.gate_skipped || !open_question(r));
}
bool is_done(state const& s, rollout const&, stop_step const&) {
  generation const* live = s.with_role(role::live);
  return live == nullptr || have_stopped(*live);
}

bool step_is_done(state const& s, rollout const& r) {
  bool done = std::visit([&](auto const& step) { return is_done(s, r, step); }, r.plan[r.position]);
  return done && !r.paused && all_ready(*s.find(r.candidate));
}

void enter_step(turn& t, rollout& r) {
  r.entered = true;
  tell_stage(t, r, describe(r.plan[r.position]));
  std::visit([&](auto const& step) { enter(t, r, step); }, r.plan[r.position]);
}

// Nothing is gained by trying it out beside nobody, or beside one that clients do not reach.
bool serves_alone(state const& s) {
  generation const* live = s.with_role(role::live);
  return live == nullptr || s.is_deaf(*live);
}

// Whom an experiment would compare the candidate with may have become deaf since somebody asked for it.
bool has_nobody_to_compare_with(state const& s, rollout const& r) { return r.wish && serves_alone(s); }

void refuse_experiment(turn& t) {
  conclude(t, {verdict_kind::refused, "nobody serves that it could be compared with"});
}

// A generation more would be one too many: another must go first, and does so at its drain deadline.
bool may_begin(state const& s, rollout const& r) {
  bool standby_left = r.behind == no_generation || s.find(r.behind) == nullptr;
  return standby_left && has_room(s);
}

bool start_preparing(turn& t, rollout& r) {
  if (t.s.preparing) return false;  // what an aborted rollout asked for still has its slots
  if (!may_begin(t.s, r)) {
    if (!r.entered) tell_stage(t, r, "waiting for a generation to drain");
    r.entered = true;
    return false;
  }
  if (has_nobody_to_compare_with(t.s, r)) {
    refuse_experiment(t);
    return true;
  }
  r.phase = rollout_phase::preparing;
  t.s.preparing = true;
  r.entered = false;
  t.s.last_generation = next(t.s.last_generation);
  t.perform(act::prepare{r.number, t.s.last_generation, r.source, !serves_alone(t.s), r.wish.has_value()});
  return true;
}

void cancel_commands_of(turn& t, rollout const& r) {
  cancel(t, r.hook);
  for (auto const& check : r.checks) cancel(t, check.running);
  cancel_metrics(t, r);
}

void keep_warm(turn& t, generation& old, duration time) {
  old.role = role::standby;
  old.standby_until = t.now + time;
  t.tell({.kind = fact_kind::standby, .generation = old.number, .wait = time});
}

// As what a rollback goes to.
void keep_instead(turn& t, generation_number old) { forget_if_unneeded(t, std::exchange(t.s.previous, old)); }

// The candidate is live; what was live becomes what a rollback goes to, unless it is the same once more.
void promote(turn& t, rollout& r) {
  generation& candidate = *t.s.find(r.candidate);
  tell_serving(t, r, {});
  bool warm =
      r.policy.rollout.strategy == strategy::blue_green && r.policy.rollout.standby > duration::zero();
  if (generation* old = t.s.with_role(role::live)) {
    if (r.cause != cause::repair) keep_instead(t, old->number);
    if (warm)
      keep_warm(t, *old, r.policy.rollout.standby);
    else
      dismiss(t, *old, r.number);
  }
  candidate.role = role::live;
  candidate.served = true;
}

void go_back(turn& t, rollout const& r) {
  if (generation* candidate = t.s.with_role(role::candidate)) dismiss(t, *candidate, r.number);
  if (generation* live = t.s.with_role(role::live)) want_again(t, *live);
}

// When nothing serves, or live is deaf, a start is tried again, for ever.
void plan_retry(turn& t, cause ended) {
  generation const* live = t.s.with_role(role::live);
  bool needed = t.s.lifecycle == lifecycle::running && (live == nullptr || t.s.is_deaf(*live));
  bool was_tried = live == nullptr || ended == cause::repair;
  t.s.failed_starts = needed && was_tried ? t.s.failed_starts + 1 : 0;
  if (needed)
    t.s.retry_at = t.now + (was_tried ? backoff(t.s.policy.restart, t.s.failed_starts) : duration{});
}

}  // namespace

void begin(turn& t, trigger by) {
  t.s.retry_at.reset();
  if (by.cause == cause::repair && t.s.with_role(role::live) != nullptr)
    by.source = t.s.with_role(role::live)->number;
  t.s.rollout =
      rollout{.number = by.number, .cause = by.cause, .source = by.source, .wish = by.wish, .started = t.now};
  t.tell({.kind = fact_kind::started, .rollout = by.number, .detail = std::string(to_string(by.cause))});
  if (generation* warm = t.s.with_role(role::standby)) {
    t.s.rollout->behind = warm->number;
    dismiss(t, *warm, {});
  }
}

// One change of the split, and whoever serves now goes.
void return_to_standby(turn& t, rollout_number mine) {
  generation& warm = *t.s.with_role(role::standby);
  warm.role = role::candidate;
  warm.candidate_crashes = 0;
  t.s.retry_at.reset();
  rollout r{.number = mine, .cause = cause::rollback, .phase = rollout_phase::executing, .started = t.now};
  r.candidate = warm.number;
  r.policy = t.s.policy;
  r.policy.rollout.strategy = strategy::handoff;
  r.plan = expand_return(r.policy, static_cast<std::uint32_t>(warm.instances.size()));
  r.checks.resize(r.policy.checks.size());
  t.s.rollout = std::move(r);
  t.tell({.kind = fact_kind::started, .rollout = mine, .detail = std::string(to_string(cause::rollback))});
}

bool advance(turn& t) {
  if (!t.s.rollout) return false;
  rollout& r = *t.s.rollout;
  if (r.phase == rollout_phase::waiting_for_room) return start_preparing(t, r);
  if (r.phase == rollout_phase::preparing) return false;
  if (!r.entered) {
    enter_step(t, r);
    return true;
  }
  if (!step_is_done(t.s, r)) return false;
  if (is_holding(r)) cancel_commands_of(t, r);
  ++r.position;
  r.entered = false;
  if (r.position == r.plan.size()) conclude(t, {verdict_kind::promoted, {}});
  return true;
}

void run_due_checks(turn& t) {
  if (!t.s.rollout || !t.s.rollout->entered) return;
  rollout& r = *t.s.rollout;
  for (std::size_t n = 0; n < r.checks.size(); ++n) {
    auto& check = r.checks[n];
    if (!is_watched(r, n) || check.running != command_number{} || check.next_run > t.now) continue;
    check.running =
        run(t, {.what = command::purpose::check, .check = n, .generation = r.candidate, .rollout = r.number},
            r.policy.checks[n].timeout);
  }
}

void end_of_check(turn& t, std::size_t check, std::optional<std::string> const& failure) {
  if (!t.s.rollout || check >= t.s.rollout->checks.size()) return;
  rollout& r = *t.s.rollout;
  auto& progress = r.checks[check];
  auto const& policy = r.policy.checks[check];
  progress.running = {};
  progress.next_run = t.now + policy.interval;
  if (!failure) {
    progress.failures = 0;
    progress.passed = true;
    return;
  }
  if (++progress.failures > policy.failures) roll_back(t, "check '" + policy.name + "': " + *failure);
}

void end_of_hook(turn& t, hook at, std::optional<std::string> const& failure) {
  t.s.rollout->hook = {};
  if (failure) roll_back(t, std::string(to_string(at)) + " hook: " + *failure);
}

namespace {

// Held, and not decided although nobody waits for a person.
bool is_undecided(rollout const& r) {
  return is_holding(r) && r.held && r.hold_until && !r.gate_until && !r.gate_skipped && open_question(r);
}

}  // namespace

// The gate does not open by itself: a metric gets as much time again to be decided.
void hold_longer(turn& t) {
  if (!t.s.rollout || !is_undecided(*t.s.rollout)) return;
  rollout& r = *t.s.rollout;
  duration again = *here<hold_step>(r)->time;
  r.gate_until = t.now + again;
  t.tell({.kind = fact_kind::note,
          .rollout = r.number,
          .generation = r.candidate,
          .detail = "holds for up to " + spell(again) + " more: " + *open_question(r)});
}

void expire_rollout(turn& t) {
  if (!t.s.rollout) return;
  rollout& r = *t.s.rollout;
  if (!is_holding(r)) return;
  if (r.hold_until && *r.hold_until <= t.now) r.held = true;
  if (!r.gate_until || *r.gate_until > t.now) return;
  r.gate_until.reset();
  if (auto open = open_question(r)) roll_back(t, *open + "; that is inconclusive");
}

void roll_back(turn& t, std::string reason) {
  if (t.s.rollout) conclude(t, {verdict_kind::rolled_back, std::move(reason)});
}

void conclude(turn& t, verdict v) {
  rollout ended = std::move(*t.s.rollout);
  t.s.rollout.reset();
  cancel_commands_of(t, ended);
  if (v.kind == verdict_kind::promoted)
    promote(t, ended);
  else
    go_back(t, ended);
  plan_retry(t, ended.cause);
  if (v.kind == verdict_kind::rolled_back) run_hook_aside(t, hook::failed, ended.candidate, ended.number);
  t.tell({.kind = fact_kind::verdict,
          .rollout = ended.number,
          .generation = ended.candidate,
          .verdict = std::move(v)});
  tell_settled(t, ended.number);
}

void tell_settled(turn& t, rollout_number number) {
  bool something_left = std::ranges::any_of(
      t.s.generations, [&](auto const& g) { return g.role == role::draining && g.dismissed_by == number; });
  if (!something_left) t.tell({.kind = fact_kind::settled, .rollout = number});
}

void on(turn& t, prepared const& e) {
  t.s.preparing = false;
  bool wanted =
      t.s.rollout && t.s.rollout->number == e.rollout && t.s.rollout->phase == rollout_phase::preparing;
  bool is_in_vain = wanted && has_nobody_to_compare_with(t.s, *t.s.rollout);
  if (!wanted || is_in_vain) {
    if (e.generation.steered) t.perform(act::remove_slots{e.number});
    t.perform(act::forget{e.number});
    return is_in_vain ? refuse_experiment(t) : void();
  }
  rollout& r = *t.s.rollout;
  t.s.policy = e.policy;
  r.policy = e.policy;
  r.phase = rollout_phase::executing;
  r.candidate = e.number;
  // A way back is not tried out step by step.
  if (r.source != no_generation) r.policy.rollout.strategy = strategy::handoff;
  bool alone = serves_alone(t.s);
  r.is_experiment = !alone && r.policy.rollout.strategy == strategy::experiment;
  if (r.wish && r.wish->weight) r.policy.rollout.experiment_weight = *r.wish->weight;
  generation const* live = t.s.with_role(role::live);
  r.plan = expand(r.policy, e.generation, alone ? 0 : static_cast<std::uint32_t>(live->instances.size()));
  r.checks.resize(e.policy.checks.size());
  t.s.generations.push_back({.number = r.candidate, .policy = e.generation});
}

void on(turn& t, preparation_failed const& e) {
  t.s.preparing = false;
  bool wanted =
      t.s.rollout && t.s.rollout->number == e.rollout && t.s.rollout->phase == rollout_phase::preparing;
  if (wanted) conclude(t, e.verdict);
}

}  // namespace handoff
