// What people ask for, and what becomes of triggers.
#include "turn.hpp"

namespace handoff {

namespace {

rollout_number take_number(turn& t) { return t.s.last_rollout = next(t.s.last_rollout); }

// However many triggers come during a rollout, one rollout follows it.
rollout_number queue(turn& t, cause why) {
  if (!t.s.pending) {
    t.s.pending = trigger{take_number(t), why, {}, {}};
    t.tell(
        {.kind = fact_kind::queued, .rollout = t.s.pending->number, .detail = std::string(to_string(why))});
  }
  return t.s.pending->number;
}

rollout_number begin_or_queue(turn& t, cause why) {
  if (t.s.rollout) return queue(t, why);
  rollout_number number = take_number(t);
  begin(t, {number, why, {}, {}});
  return number;
}

// The one who most likely shut a listener that all share, or took its program away: whoever was just told to
// leave, else a newcomer, else live.
generation_number suspect(state const& s) {
  generation_number draining{};
  for (auto const& g : s.generations)
    if (g.role == role::draining) draining = g.number;
  if (draining != no_generation) return draining;
  if (auto const* candidate = s.with_role(role::candidate)) return candidate->number;
  auto const* live = s.with_role(role::live);
  return live == nullptr ? no_generation : live->number;
}

// Why an experiment cannot begin now; empty when it can.
std::string why_no_experiment(state const& s) {
  if (s.rollout) {
    std::string which = "rollout " + std::to_string(number(s.rollout->number));
    if (s.rollout->is_experiment) return "an experiment runs already, " + which + ": conclude it first";
    return which + " is under way, at: " + stage_of(*s.rollout);
  }
  generation const* live = s.with_role(role::live);
  if (live == nullptr) return "nothing serves yet that it could be compared with";
  return s.is_deaf(*live) ? "live does not hear its clients, and is about to be replaced" : "";
}

constexpr char const* is_stopping = "the supervisor is stopping";
constexpr char const* no_rollout = "no rollout is under way";

std::string is_at(rollout const& r) {
  return "rollout " + std::to_string(number(r.number)) + " is at: " + stage_of(r);
}

// Why the weight of the candidate cannot be changed now; empty when it can.
std::string why_no_weight(state const& s) {
  if (!s.rollout) return no_rollout;
  generation const* candidate = s.with_role(role::candidate);
  if (candidate == nullptr || !s.rollout->weight)
    return is_at(*s.rollout) + "; its candidate takes no traffic yet";
  if (s.with_role(role::live) == nullptr) return "there is no live generation to share the traffic with";
  if (!candidate->policy.steered)
    return "no listener is steered: all generations share them, so there is no weight";
  if (!all_ready(*candidate)) return "an instance of the candidate is not ready";
  return {};
}

}  // namespace

bool begin_pending(turn& t) {
  bool free = !t.s.rollout && t.s.pending && t.s.lifecycle == lifecycle::running;
  if (!free) return false;
  trigger next = *t.s.pending;
  t.s.pending.reset();
  begin(t, next);
  return true;
}

void expire_retry(turn& t) {
  bool due = t.s.retry_at && *t.s.retry_at <= t.now && !t.s.rollout;
  if (due)
    begin(t, {take_number(t), t.s.with_role(role::live) == nullptr ? cause::retry : cause::repair, {}, {}});
}

void expire_standby(turn& t) {
  generation* warm = t.s.with_role(role::standby);
  if (warm != nullptr && warm->standby_until <= t.now) dismiss(t, *warm, {});
}

void on(turn& t, upgrade_requested const& e) {
  if (t.s.lifecycle != lifecycle::running) return t.reply(e.request, std::unexpected(is_stopping));
  if (!e.wish) return t.reply(e.request, begin_or_queue(t, e.cause));
  if (auto why = why_no_experiment(t.s); !why.empty()) return t.reply(e.request, std::unexpected(why));
  rollout_number mine = take_number(t);
  begin(t, {mine, e.cause, {}, e.wish});
  t.reply(e.request, mine);
}

void on(turn& t, rollback_requested const& e) {
  auto refuse = [&](std::string why) { t.reply(e.request, std::unexpected(std::move(why))); };
  if (t.s.lifecycle != lifecycle::running) return refuse(is_stopping);
  if (t.s.rollout)
    return refuse("rollout " + std::to_string(number(t.s.rollout->number)) + " is under way: abort it first");
  if (t.s.previous == no_generation) return refuse("there is no generation to go back to");
  rollout_number mine = take_number(t);
  if (t.s.with_role(role::standby) != nullptr)
    return_to_standby(t, mine);
  else
    begin(t, {mine, cause::rollback, t.s.previous, {}});
  t.reply(e.request, mine);
}

void on(turn& t, abort_requested const& e) {
  if (!t.s.rollout) {
    bool promoted = t.s.previous != no_generation;
    return t.reply(e.request,
                   std::unexpected(promoted ? "no rollout is under way, the last one has ended: use rollback"
                                            : no_rollout));
  }
  rollout_number aborted = t.s.rollout->number;
  roll_back(t, "aborted");
  t.reply(e.request, aborted);
}

void on(turn& t, promote_requested const& e) {
  if (!t.s.rollout) return t.reply(e.request, std::unexpected(no_rollout));
  rollout& r = *t.s.rollout;
  bool holding = is_holding(r);
  if (!holding && !r.paused && !e.full)
    return t.reply(e.request, std::unexpected(is_at(r) + "; there is no hold to end"));
  if (std::exchange(r.paused, false)) t.tell({.kind = fact_kind::resumed, .rollout = r.number});
  if (holding) r.held = r.gate_skipped = true;
  r.gate_until.reset();
  r.skips_holds = r.skips_holds || e.full;
  t.reply(e.request, r.number);
}

void on(turn& t, pause_requested const& e) {
  if (!t.s.rollout) return t.reply(e.request, std::unexpected(no_rollout));
  rollout& r = *t.s.rollout;
  if (r.paused) return t.reply(e.request, std::unexpected("it is paused already"));
  r.paused = true;
  t.tell({.kind = fact_kind::paused, .rollout = r.number, .generation = r.candidate, .detail = stage_of(r)});
  t.reply(e.request, r.number);
}

void on(turn& t, resume_requested const& e) {
  if (!t.s.rollout) return t.reply(e.request, std::unexpected(no_rollout));
  rollout& r = *t.s.rollout;
  if (!r.paused) {
    std::string why = waits_for_a_person(r) ? "; promote goes on" : "; it is not paused";
    return t.reply(e.request, std::unexpected(is_at(r) + why));
  }
  r.paused = false;
  t.tell({.kind = fact_kind::resumed, .rollout = r.number, .generation = r.candidate});
  t.reply(e.request, r.number);
}

void on(turn& t, weight_requested const& e) {
  if (auto why = why_no_weight(t.s); !why.empty()) return t.reply(e.request, std::unexpected(why));
  rollout& r = *t.s.rollout;
  r.weight = e.weight;
  t.tell({.kind = fact_kind::weighted, .rollout = r.number, .generation = r.candidate, .weight = e.weight});
  t.reply(e.request, r.number);
}

void on(turn& t, stop_requested const& e) {
  t.reply(e.request, rollout_number{});
  if (t.s.lifecycle != lifecycle::running) {
    while (!t.s.commands.empty()) cancel(t, t.s.commands.back().number);
    return kill_everything(t);
  }
  t.s.lifecycle = lifecycle::stopping;
  t.s.retry_at.reset();
  t.tell({.kind = fact_kind::stopping});
  roll_back(t, "stopped");
  if (t.s.pending) {
    rollout_number never = t.s.pending->number;
    t.s.pending.reset();
    t.tell({.kind = fact_kind::verdict,
            .rollout = never,
            .verdict = verdict{verdict_kind::refused, is_stopping}});
    t.tell({.kind = fact_kind::settled, .rollout = never});
  }
  for (auto serving : {role::live, role::standby})
    if (generation* g = t.s.with_role(serving)) dismiss(t, *g, {});
}

void on(turn& t, policy_changed const& e) {
  t.s.policy = e.policy;
  t.reply(e.request, rollout_number{});
}

// Of a slot it is known whose it is; a generation that leaves may shut its own.
void on(turn& t, listener_shut const& e) {
  generation const* owner = t.s.find(e.slot);
  bool leaves = e.slot != no_generation && (owner == nullptr || owner->role == role::draining);
  if (leaves) return;
  generation_number who = owner == nullptr ? suspect(t.s) : e.slot;
  t.perform(act::reopen_listener{e.listener, e.slot, who});
}

void on(turn& t, listener_reopened const& e) {
  t.tell({.kind = fact_kind::listener_reopened, .generation = e.by, .listener = e.listener});
}

void on(turn& t, steering_taken const& e) {
  t.tell({.kind = fact_kind::steering_restored, .generation = suspect(t.s), .listener = e.listener});
}

// Whoever holds the socket that was replaced hears nothing any more: live is launched anew, as it is. A
// rollout under way may bring somebody who hears; its end decides.
void on(turn& t, listener_replaced const&) {
  t.s.deaf_up_to = t.s.last_generation;
  if (generation* warm = t.s.with_role(role::standby)) dismiss(t, *warm, {});
  bool needed = t.s.lifecycle == lifecycle::running && !t.s.rollout && t.s.with_role(role::live) != nullptr;
  if (needed && !t.s.retry_at) t.s.retry_at = t.now;
  expire_retry(t);
}

}  // namespace handoff
