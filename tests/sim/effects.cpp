// The world's ports: what the engine asks for.
#include "world.hpp"

#include <algorithm>
#include <utility>

namespace handoff::sim {

process* world::find(instance_id const& id) {
  auto found = std::ranges::find_if(processes_, [&](auto const& p) { return p.id == id; });
  return found == processes_.end() ? nullptr : &*found;
}

release* world::find(generation_number n) {
  auto found = std::ranges::find_if(releases_, [&](auto const& r) { return r.number == n; });
  return found == releases_.end() ? nullptr : &*found;
}

slot const* world::find_slot(generation_number n) const {
  auto found = std::ranges::find_if(slots_, [&](auto const& s) { return s.of == n; });
  return found == slots_.end() ? nullptr : &*found;
}
slot* world::find_slot(generation_number n) { return const_cast<slot*>(std::as_const(*this).find_slot(n)); }

std::uint32_t world::part_of(generation_number n) const {
  std::uint32_t part = 0;
  for (auto const& s : split_.shares)
    if (s.generation == n) part += number(s.weight);
  return part;
}

// A stop moves nothing: there is nobody to move it to.
bool world::is_chosen(generation_number n) const {
  if (stop_asked_) return false;
  bool routed = std::ranges::any_of(split_.routes, [&](auto const& r) { return r.to == n; });
  return part_of(n) > 0 || split_.fallback == n || routed;
}

bool world::is_ready(process const& p) const {
  auto const& g = rules_.now.generation;
  bool survived =
      g.when == readiness::alive && p.now == condition::starting && now_ >= p.started_at + g.alive_for;
  // Facts are told late: the next rollout may already have stopped who was promoted.
  return p.now == condition::ready || survived || (p.stopped && p.now == condition::told);
}

std::uint32_t world::ready_of(generation_number g) const {
  return static_cast<std::uint32_t>(
      std::ranges::count_if(processes_, [&](auto const& p) { return p.id.generation == g && is_ready(p); }));
}

void world::launch(instance_id const& id) {
  if (dead_) return;
  release const* r = find(id.generation);
  expect(r != nullptr && r->kept, "4: only a kept release is launched");
  expect(!stop_asked_, "5: nothing is launched while stopping");
  auto sibling = std::ranges::find_if(processes_, [&](auto const& p) {
    return p.now != condition::dead && p.id.generation == id.generation && p.id.index == id.index;
  });
  expect(sibling == processes_.end(), "7: an instance is launched once at a time");
  auto launching =
      std::ranges::count_if(processes_, [](auto const& p) { return p.now == condition::launching; });
  expect(launching == 0, "6: launches are sequential");
  processes_.push_back({.id = id});
}

void world::ask_to_drain(instance_id const& id) {
  if (dead_) return;
  process* p = find(id);
  expect(p != nullptr && p->now != condition::dead, "7: only a process that exists is told");
  if (p == nullptr) return;
  expect(!p->was_told, "5: an instance is told once");
  expect(p->now != condition::launching, "2: a launcher is not told to drain");
  bool rolling = rules_.now.policy.rollout.strategy == strategy::rolling && !stop_asked_;
  generation const* of =
      engine_.current().find(id.generation);  // live_ waits for the fact, which is told late
  p->stopped = of != nullptr && of->role == role::live && rolling &&
               std::ranges::any_of(of->instances,
                                   [&](auto const& i) { return i.id == id && i.stopped != stopping::no; });
  if (id.generation == live_ && !p->stopped) live_was_told_ = true;
  if (p->stopped) expect_enough_stay(*of);
  if (p->now != condition::killed) p->now = condition::told;
  p->was_told = true;
  p->told_at = now_;
}

// Of live, which a rolling upgrade stops one by one. Who is told is told late: the rollout may have ended.
void world::expect_enough_stay(generation const& live) {
  auto stay = std::ranges::count(live.instances, stopping::no, &instance::stopped);
  auto const& under_way = engine_.current().rollout;
  bool stands = !under_way || part_of(under_way->candidate) > 0;
  auto missing = static_cast<std::ptrdiff_t>(find(live.number)->instances) - stay;
  expect(stands || missing <= static_cast<std::ptrdiff_t>(rules_.now.policy.rollout.max_unavailable),
         "2: live stays until the first of its successors stands");
}

void world::kill(instance_id const& id) {
  if (dead_ || never_launched_.contains(id)) return;
  process* p = find(id);
  expect(p != nullptr && p->now != condition::dead, "7: only a process that exists is killed");
  if (p == nullptr) return;
  // An instance that is ready has done nothing, unless somebody died who knew better.
  bool late = !is_ready(*p) || p->stopped || std::ranges::find(parting_, id) != parting_.end();
  if (id.generation == live_ && !late) live_was_told_ = true;
  p->now = condition::killed;
}

void world::abort(instance_id const& id) {
  if (dead_) return;
  process* p = find(id);
  bool justified = p != nullptr && (p->misbehaves || rules_.now.generation.watchdog);
  expect(justified, "2: the watchdog bites who is silent");
  if (p != nullptr) p->now = condition::killed;
}

void world::prepare(act::prepare const& a) {
  if (a.source != no_generation) {
    release const* source = find(a.source);
    expect(source != nullptr && source->kept, "4: a rollback finds the kept release");
  } else if (std::exchange(next_is_broken_, false)) {
    return engine_.post(preparation_failed{a.rollout, {verdict_kind::refused, "line 12: unknown key"}});
  } else if (std::exchange(next_is_missing_, false)) {
    return engine_.post(preparation_failed{a.rollout, {verdict_kind::rolled_back, "exec: ENOENT"}});
  }
  expect(!a.must_be_experiment || a.beside_live, "3: nothing is compared with nobody");
  if (a.must_be_experiment && rules_.now.policy.rollout.strategy != strategy::experiment)
    return engine_.post(preparation_failed{a.rollout, {verdict_kind::refused, "this is no experiment"}});
  expect(find(a.generation) == nullptr, "4: a generation number is used once");
  generation_policy made = rules_.now.generation;
  if (rules_.grows) made.instances += 2 * number(a.generation) % 3;
  if (release const* source = find(a.source)) made.instances = source->instances;
  releases_.push_back({.number = a.generation,
                       .same_as = a.source,
                       .instances = made.instances,
                       .drain_timeout = rules_.now.generation.drain_timeout});
  expect(!rules_.now.generation.steered || slots_.size() < rules_.now.generation.slots,
         "2: there is a slot for a candidate that is prepared");
  if (rules_.now.generation.steered) slots_.push_back({.of = a.generation});
  engine_.post(prepared{a.rollout, a.generation, made, rules_.now.policy});
}

void world::forget(generation_number n) {
  release* r = find(n);
  expect(r != nullptr && r->kept, "7: a release is forgotten once");
  expect(std::ranges::none_of(commands_, [&](auto const& c) { return c.generation == n; }),
         "7: a release outlives its commands");
  generation const* live =
      engine_.current().with_role(role::live);  // live_ waits for the verdict, which is told late
  expect(live == nullptr || n != live->number || stop_asked_, "4: live's release is kept");
  if (r != nullptr) r->kept = false;
}

void world::run(command const& c) {
  if (dead_) return;
  auto is_it = [&](auto const& other) { return other.number == c.number; };
  bool again = lost_.erase(c.number) > 0;
  expect(std::ranges::any_of(commands_, is_it) == again, "7: only a command that was lost is run again");
  expect(kept_ && std::ranges::any_of(kept_->commands, is_it),
         "7: a command that runs is known to a successor");
  release const* r = find(c.generation);
  expect(c.generation == no_generation || (r != nullptr && r->kept), "7: a command runs as its release says");
  if (!again) commands_.push_back(c);
}

void world::cancel(command_number n) {
  auto erased = std::erase_if(commands_, [&](auto const& c) { return c.number == n; });
  expect(erased == 1, "7: only a command in flight is cancelled");
  lost_.erase(n);
}

// All the checks, or those that a canary's first step chose.
bool world::has_passed(release const& r) const {
  auto const& policy = rules_.now.policy;
  bool chooses = policy.rollout.strategy == strategy::canary && !policy.rollout.steps.empty();
  selection const chosen = chooses ? policy.rollout.steps[0].checks : selection{};
  for (std::size_t n = 0; n < policy.checks.size(); ++n)
    if (is_selected(chosen, policy.checks[n].name) && !r.checks_passed.contains(n)) return false;
  return true;
}

void world::split(traffic_split const& wanted) {
  std::uint32_t whole = 0;
  for (auto const& part : wanted.shares) {
    release* r = find(part.generation);
    bool gains = number(part.weight) > part_of(part.generation) && part.generation != live_;
    bool partly = part.weight != full_weight;  // the rest of its instances may still be on their way
    expect(!gains || (r != nullptr && ready_of(part.generation) >= (partly ? 1 : r->instances)),
           "2: traffic goes to who is ready");
    expect(!gains || r == nullptr || has_passed(*r), "2: checks stand before the traffic");
    if (r != nullptr && !partly) r->traffic = true;
    whole += number(part.weight);
  }
  expect(wanted.shares.empty() || whole == number(full_weight), "1: all of the traffic goes somewhere");
  expect(wanted != split_ || std::exchange(splits_again_, false), "7: nothing is written without need");
  split_ = wanted;
}

void world::settle(generation_number g, instant) {
  slot* s = find_slot(g);
  expect(s != nullptr && !is_chosen(g), "2: who settles has lost its traffic");
  if (s != nullptr) s->settling = true;
}

void world::close_slots(generation_number g) {
  slot* s = find_slot(g);
  expect(s != nullptr && !s->closing, "7: slots are closed once");
  expect(!is_chosen(g), "1: a slot that is closed has lost its traffic");
  if (s == nullptr) return;
  s->closing = true;
  s->settling = false;
}

void world::remove_slots(generation_number g) {
  auto left = std::ranges::count_if(
      processes_, [&](auto const& p) { return p.id.generation == g && p.now != condition::dead; });
  expect(left == 0, "1: slots go when their processes are gone");
  expect(!is_chosen(g), "1: a slot that goes has lost its traffic");
  bool somewhere = stop_asked_ || split_.fallback == no_generation || find_slot(split_.fallback) != nullptr;
  expect(somewhere, "1: what waits moves to a slot that is there");
  expect(std::erase_if(slots_, [&](auto const& s) { return s.of == g; }) == 1, "7: slots are removed once");
}

void world::reopen(std::size_t listener, generation_number of, generation_number by) {
  engine_.post(listener_reopened{listener, by});
  if (of != no_generation) {
    slot* s = find_slot(of);
    expect(s != nullptr && !s->open, "1: only a slot that was shut is opened again");
    if (s != nullptr) s->open = true;
    return;
  }
  expect(!open_[listener], "1: only a shut listener is opened again");
  open_[listener] = true;
  if (!std::exchange(listener_lost_, false)) return;
  if (!releases_.empty()) deaf_up_to_ = releases_.back().number;
  engine_.post(listener_replaced{listener});
}

void world::finish() { finished_ = true; }

}  // namespace handoff::sim
