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

void enter(turn& t, rollout& r, check_step const&) {
  for (auto& check : r.checks) check = {.next_run = t.now};
}

void enter(turn& t, rollout& r, switch_step const&) { t.perform(act::give_traffic{r.candidate}); }

void enter(turn& t, rollout& r, bake_step const& step) {
  r.bake_until = t.now + step.hold;
  for (std::size_t n = 0; n < r.checks.size(); ++n)
    r.checks[n] = {.next_run = t.now + r.policy.checks[n].interval, .passed = true};
  t.tell({.kind = fact_kind::serving, .rollout = r.number, .generation = r.candidate, .wait = step.hold});
}

bool is_done(rollout const& r, hook_step const&) { return r.hook == command_number{}; }
bool is_done(rollout const&, start_step const&) { return true; }  // all_ready() is asked behind every step
bool is_done(rollout const& r, check_step const&) {
  return std::ranges::all_of(r.checks, [](auto const& c) { return c.passed; });
}
bool is_done(rollout const&, switch_step const&) { return true; }
bool is_done(rollout const& r, bake_step const&) { return r.baked; }

bool step_is_done(state const& s, rollout const& r) {
  bool done = std::visit([&](auto const& step) { return is_done(r, step); }, r.plan[r.position]);
  return done && all_ready(*s.find(r.candidate));
}

void enter_step(turn& t, rollout& r) {
  r.entered = true;
  tell_stage(t, r, describe(r.plan[r.position]));
  std::visit([&](auto const& step) { enter(t, r, step); }, r.plan[r.position]);
}

// A generation more would be one too many: the oldest must go first, and does so at its drain deadline.
bool has_room(state const& s) { return s.draining() < s.policy.rollout.max_draining; }

bool start_preparing(turn& t, rollout& r) {
  if (!has_room(t.s)) {
    if (!r.entered) tell_stage(t, r, "waiting for a generation to drain");
    r.entered = true;
    return false;
  }
  r.phase = rollout_phase::preparing;
  r.entered = false;
  t.s.last_generation = next(t.s.last_generation);
  t.perform(act::prepare{r.number, t.s.last_generation, r.source});
  return true;
}

void cancel_commands_of(turn& t, rollout const& r) {
  cancel(t, r.hook);
  for (auto const& check : r.checks) cancel(t, check.running);
}

// The candidate is live; what was live becomes what a rollback goes to.
void promote(turn& t, rollout const& r) {
  generation& candidate = *t.s.find(r.candidate);
  bool baked =
      std::ranges::any_of(r.plan, [](auto const& s) { return std::holds_alternative<bake_step>(s); });
  if (!baked)
    t.tell({.kind = fact_kind::serving, .rollout = r.number, .generation = r.candidate, .wait = {}});
  if (generation* old = t.s.with_role(role::live)) {
    generation_number no_longer_kept = std::exchange(t.s.previous, old->number);
    bool gone = no_longer_kept != no_generation && t.s.find(no_longer_kept) == nullptr;
    if (gone) t.perform(act::forget{no_longer_kept});
    dismiss(t, *old, r.number);
  }
  candidate.role = role::live;
  candidate.served = true;
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
  t.s.rollout = rollout{.number = by.number, .cause = by.cause, .source = by.source, .started = t.now};
  t.tell({.kind = fact_kind::started, .rollout = by.number, .detail = std::string(to_string(by.cause))});
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
  ++r.position;
  r.entered = false;
  if (r.position == r.plan.size()) conclude(t, {verdict_kind::promoted, {}});
  return true;
}

void run_due_checks(turn& t) {
  if (!t.s.rollout || !t.s.rollout->entered) return;
  rollout& r = *t.s.rollout;
  bool baking = here<bake_step>(r) != nullptr;
  if (!baking && here<check_step>(r) == nullptr) return;
  for (std::size_t n = 0; n < r.checks.size(); ++n) {
    auto& check = r.checks[n];
    bool wanted = baking ? r.policy.checks[n].during_bake : !check.passed;
    if (!wanted || check.running != command_number{} || check.next_run > t.now) continue;
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

void expire_rollout(turn& t) {
  if (!t.s.rollout) return;
  rollout& r = *t.s.rollout;
  if (here<bake_step>(r) != nullptr && r.entered && r.bake_until <= t.now) r.baked = true;
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
  else if (generation* candidate = t.s.with_role(role::candidate))
    dismiss(t, *candidate, ended.number);
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
  bool wanted =
      t.s.rollout && t.s.rollout->number == e.rollout && t.s.rollout->phase == rollout_phase::preparing;
  if (!wanted) return t.perform(act::forget{e.number});
  rollout& r = *t.s.rollout;
  t.s.policy = e.policy;
  r.policy = e.policy;
  r.phase = rollout_phase::executing;
  r.candidate = e.number;
  r.plan = expand(e.policy, e.generation, t.s.with_role(role::live) == nullptr);
  r.checks.resize(e.policy.checks.size());
  t.s.generations.push_back({.number = r.candidate, .policy = e.generation});
}

void on(turn& t, preparation_failed const& e) {
  bool wanted =
      t.s.rollout && t.s.rollout->number == e.rollout && t.s.rollout->phase == rollout_phase::preparing;
  if (wanted) conclude(t, e.verdict);
}

}  // namespace handoff
