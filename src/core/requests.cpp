// What people ask for, and what becomes of triggers.
#include "turn.hpp"

namespace handoff {

namespace {

rollout_number take_number(turn& t) { return t.s.last_rollout = next(t.s.last_rollout); }

// However many triggers come during a rollout, one rollout follows it.
rollout_number queue(turn& t, cause why) {
  if (!t.s.pending) {
    t.s.pending = trigger{take_number(t), why, {}};
    t.tell(
        {.kind = fact_kind::queued, .rollout = t.s.pending->number, .detail = std::string(to_string(why))});
  }
  return t.s.pending->number;
}

rollout_number begin_or_queue(turn& t, cause why) {
  if (t.s.rollout) return queue(t, why);
  rollout_number number = take_number(t);
  begin(t, {number, why, {}});
  return number;
}

// The one who most likely shut a shared listener: whoever was just told to leave, else a newcomer, else live.
generation_number suspect(state const& s) {
  generation_number draining{};
  for (auto const& g : s.generations)
    if (g.role == role::draining) draining = g.number;
  if (draining != no_generation) return draining;
  if (auto const* candidate = s.with_role(role::candidate)) return candidate->number;
  auto const* live = s.with_role(role::live);
  return live == nullptr ? no_generation : live->number;
}

constexpr char const* stopping = "the supervisor is stopping";

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
    begin(t, {take_number(t), t.s.with_role(role::live) == nullptr ? cause::retry : cause::repair, {}});
}

void on(turn& t, upgrade_requested const& e) {
  if (t.s.lifecycle != lifecycle::running) return t.reply(e.request, std::unexpected(stopping));
  t.reply(e.request, begin_or_queue(t, e.cause));
}

void on(turn& t, rollback_requested const& e) {
  auto refuse = [&](std::string why) { t.reply(e.request, std::unexpected(std::move(why))); };
  if (t.s.lifecycle != lifecycle::running) return refuse(stopping);
  if (t.s.rollout)
    return refuse("rollout " + std::to_string(number(t.s.rollout->number)) + " is under way: abort it first");
  if (t.s.previous == no_generation) return refuse("there is no generation to go back to");
  rollout_number mine = take_number(t);
  begin(t, {mine, cause::rollback, t.s.previous});
  t.reply(e.request, mine);
}

void on(turn& t, abort_requested const& e) {
  if (!t.s.rollout) {
    bool promoted = t.s.previous != no_generation;
    return t.reply(e.request,
                   std::unexpected(promoted ? "no rollout is under way, the last one has ended: use rollback"
                                            : "no rollout is under way"));
  }
  rollout_number aborted = t.s.rollout->number;
  roll_back(t, "aborted");
  t.reply(e.request, aborted);
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
    t.tell(
        {.kind = fact_kind::verdict, .rollout = never, .verdict = verdict{verdict_kind::refused, stopping}});
    t.tell({.kind = fact_kind::settled, .rollout = never});
  }
  if (generation* live = t.s.with_role(role::live)) dismiss(t, *live, {});
}

void on(turn& t, policy_changed const& e) { t.s.policy = e.policy; }

void on(turn& t, listener_shut const& e) {
  t.perform(act::reopen_listener{e.listener});
  t.tell({.kind = fact_kind::listener_reopened, .generation = suspect(t.s), .listener = e.listener});
}

// Whoever holds the socket that was replaced hears nothing any more: live is launched anew, as it is. A
// rollout under way may bring somebody who hears; its end decides.
void on(turn& t, listener_replaced const&) {
  t.s.deaf_up_to = t.s.last_generation;
  bool needed = t.s.lifecycle == lifecycle::running && !t.s.rollout && t.s.with_role(role::live) != nullptr;
  if (needed && !t.s.retry_at) t.s.retry_at = t.now;
  expire_retry(t);
}

}  // namespace handoff
