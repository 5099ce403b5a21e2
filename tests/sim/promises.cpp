// The promises of the README, checked after everything that happens, against what the world saw.
#include "world.hpp"

#include <algorithm>

namespace handoff::sim {

void world::expect(bool holds, char const* promise) {
  if (!holds && broken_.empty()) broken_ = promise;
}

void world::record_verdict(fact const& f) {
  auto& r = rollouts_[f.rollout];
  expect(!r.verdict, "8: a rollout has one verdict");
  r.verdict = f.verdict->kind;
  r.generation = f.generation;
  if (f.verdict->kind != verdict_kind::promoted) {
    expect(!f.verdict->reason.empty(), "8: who failed is told why");
    return;
  }
  expect(r.served, "8: promoted means that it serves");
  release const* candidate = find(f.generation);
  expect(candidate != nullptr && candidate->traffic && ready_of(f.generation) == candidate->instances,
         "2: only who is ready and has the traffic is promoted");
  for (auto at : {hook::preflight, hook::ready, hook::switched}) {
    bool configured = rules_.now.policy.hooks[static_cast<std::size_t>(at)].has_value();
    expect(!configured || candidate->hooks_passed.contains(at), "2: every gate held before the promotion");
  }
  live_ = f.generation;
  live_was_told_ = false;  // the successor stands
}

void world::hear(fact const& f, state const&) {
  if (rules_.keep_history) history_.push_back("    " + std::string(to_string(f.kind)) + " " + f.detail);
  if (f.rollout == rollout_number{}) return;
  auto& r = rollouts_[f.rollout];
  switch (f.kind) {
    case fact_kind::started:
      expect(!r.started && !r.verdict, "6: a rollout starts once");
      r.started = true;
      break;
    case fact_kind::serving:
      r.served = true;
      break;
    case fact_kind::queued:
      accepted_.insert(f.rollout);
      break;
    case fact_kind::verdict:
      record_verdict(f);
      break;
    case fact_kind::settled:
      expect(r.verdict && !r.settled, "8: a rollout settles once, after its verdict");
      r.settled = true;
      break;
    default:
      break;
  }
}

void world::hear(answer const& a) {
  expect(answers_due_ > 0, "8: one answer a request");
  --answers_due_;
  if (!a.outcome) return expect(!a.outcome.error().empty(), "8: a refusal says why");
  if (*a.outcome != rollout_number{}) accepted_.insert(*a.outcome);
}

void world::check_promises() {
  state const& s = engine_.current();
  for (bool open : open_) expect(open, "1: the door stays open");
  expect(answers_due_ == 0, "8: whoever asked was answered");
  expect(!live_was_told_ || stop_asked_, "2: nobody leaves before the successor stands");

  auto with_role = [&](role wanted) {
    return std::ranges::count_if(s.generations, [&](auto const& g) { return g.role == wanted; });
  };
  expect(with_role(role::candidate) <= 1 && with_role(role::live) <= 1, "6: one rollout at a time");
  auto warm = with_role(role::standby);
  expect(warm <= 1, "5: at most one stands by");
  // A verdict and the end of a standby may each add one.
  expect(with_role(role::draining) <= static_cast<std::ptrdiff_t>(s.policy.rollout.max_draining) + 2,
         "5: draining generations have a cap");

  generation const* live = s.with_role(role::live);
  bool serving = live_ != no_generation && !stop_asked_;
  expect(!serving || (live != nullptr && live->number == live_), "3: the last good one serves");
  if (serving && live != nullptr)
    for (auto const& i : live->instances)
      expect(i.is_running() || i.phase == instance_phase::queued || i.stopped == stopping::yes,
             "1: somebody serves, or is on the way");
  if (serving && live != nullptr)
    expect(std::ranges::any_of(live->instances, [](auto const& i) { return i.stopped == stopping::no; }),
           "2: live is never stopped altogether");

  bool is_wished = s.rollout && s.rollout->wish && s.rollout->phase == rollout_phase::executing;
  expect(!is_wished || s.rollout->is_experiment, "3: an experiment that was asked for is one, or is refused");
  check_processes();
  check_traffic();
  for (auto const& r : releases_) {
    bool has_command =
        std::ranges::any_of(s.commands, [&](auto const& c) { return c.generation == r.number; });
    bool wanted = s.find(r.number) != nullptr || r.number == s.previous || has_command;
    expect(r.kept == wanted, "7: releases are kept while they are wanted, no longer");
  }
  expect(s.commands.size() == commands_.size() && lost_.empty(), "7: no command is forgotten");
  bool for_a_person = s.rollout && waits_for_a_person(*s.rollout);
  expect(rests() || wake_at_ || finished_ || for_a_person, "5: every wait has a deadline");
}

// Whatever the kernel selects by the split is open, and of a generation that may serve.
void world::check_traffic() {
  state const& s = engine_.current();
  for (auto const& one : slots_) {
    generation const* g = s.find(one.of);
    bool leaves = g == nullptr || g->role == role::draining;
    expect(one.open || leaves, "1: a slot that was shut is opened again");
    expect(leaves || !one.closing, "1: only who leaves loses its slots");
    expect(g != nullptr, "7: no slot is forgotten");
    bool somebody_takes = std::ranges::any_of(processes_, [&](auto const& p) {
      return p.id.generation == one.of && p.now == condition::ready && !p.was_told;
    });
    expect(!one.closing || !somebody_takes,
           "1: slots are closed when whoever takes from them is told to leave");
  }
  if (stop_asked_) return;
  auto may_serve = [&](generation_number n) {
    generation const* g = s.find(n);
    bool present = !rules_.now.generation.steered || find_slot(n) != nullptr;
    return g != nullptr && g->role != role::draining && g->role != role::standby && present;
  };
  expect(split_ == s.split, "8: the split is what the state says");
  for (auto const& part : split_.shares)
    expect(may_serve(part.generation), "1: traffic goes to a slot of who may serve");
  for (auto const& rule : split_.routes)
    expect(may_serve(rule.to), "1: a route leads to a slot of who may serve");
  expect(split_.shares.empty() || may_serve(split_.fallback), "1: what migrates goes to who may serve");
  expect(live_ == no_generation || !split_.shares.empty(), "1: who serves has the traffic");
}

void world::check_processes() {
  state const& s = engine_.current();
  for (auto const& p : processes_) {
    generation const* g = s.find(p.id.generation);
    expect(g != nullptr, "7: no process is forgotten");
    bool overdue = p.was_told && p.now == condition::told && g != nullptr &&
                   now_ > p.told_at + std::max(g->policy.drain_timeout, g->policy.kill_timeout);
    expect(!overdue, "5: no process outlives its drain");
    bool dismissed = g != nullptr && g->role == role::draining;
    bool may_wait = dismissed && now_ < g->dismissed_at + g->policy.settle && find_slot(g->number) != nullptr;
    bool stale = dismissed && !p.was_told && p.now != condition::killed && !may_wait;
    expect(!stale, "3: a condemned generation is told to leave");
  }
}

// Nothing is on its way any more: live serves with all its instances, or everything has ended.
bool world::rests() const {
  state const& s = engine_.current();
  if (s.rollout || s.pending || s.retry_at || !commands_.empty()) return false;
  if (stop_asked_) return finished_;
  if (s.generations.size() != 1 || s.generations[0].role != role::live) return false;
  return std::ranges::all_of(s.generations[0].instances,
                             [](auto const& i) { return i.phase == instance_phase::ready; });
}

void world::check_rest() {
  state const& s = engine_.current();
  expect(rests(), "5: everything ends");
  if (finished_) {
    expect(processes_.empty() && commands_.empty(), "7: nothing is left behind");
  } else {
    expect(s.generations.size() == 1 && processes_.size() == s.generations[0].instances.size(),
           "7: what runs is live and nothing else");
    expect(slots_.size() == (rules_.now.generation.steered ? 1 : 0), "7: slots are live's and nobody else's");
    expect(part_of(live_) == number(full_weight), "3: live has all of the traffic");
    expect(live_ > deaf_up_to_, "1: who serves holds the socket that clients reach");
    expect(!s.degraded || s.generations[0].crashes.exhausted(now_, s.policy.restart) || wake_at_,
           "8: degraded ends");
  }
  for (auto const& [number, r] : rollouts_) {
    expect(r.verdict.has_value(), "6: no trigger is lost");
    expect(r.settled, "8: every rollout settles");
  }
  for (auto number : accepted_)
    expect(number == rollout_number{} || rollouts_.contains(number),
           "6: an accepted trigger becomes a rollout");
}

// The calm after the storm: every process does what it should, the killed die, the deaf are killed in time.
void world::help_along() {
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    auto& p = processes_[i];
    if (p.now == condition::killed) return happen({choice::kind::exits, i});
    if (p.now == condition::launching) return happen({choice::kind::launched, i});
    bool by_word = rules_.now.generation.when == readiness::notify;
    if (p.now == condition::starting && by_word) return happen({choice::kind::becomes_ready, i});
  }
  if (!commands_.empty()) return happen({choice::kind::command_succeeds, 0});
  auto const& under_way = engine_.current().rollout;
  if (under_way && waits_for_a_person(*under_way)) return happen({choice::kind::promote, 0});
  if (!wake_at_) return;
  if (rules_.now.generation.watchdog)
    for (auto const& p : processes_) engine_.post(watchdog_fed{p.id, {}});
  pass_time();
  run_engine();
  check_promises();
}

bool world::come_to_rest() {
  quiet_ = true;
  rules_.mischief = 0;
  if (std::exchange(holds_back_, false)) run_engine();
  constexpr int patience = 400;
  for (int n = 0; n < patience && broken_.empty() && !rests(); ++n) help_along();
  if (broken_.empty()) check_rest();
  return broken_.empty();
}

}  // namespace handoff::sim
