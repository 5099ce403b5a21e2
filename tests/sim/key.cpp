// Two worlds with the same key have the same future: moments count from now, numbers by their rank, and what
// can no longer matter is left out.
#include "world.hpp"

#include <algorithm>

namespace handoff::sim {

namespace {

class key_writer {
 public:
  explicit key_writer(instant now) : now_(now) {}

  void add(std::int64_t value) {
    // Variable length, so that a key is short.
    auto bits = static_cast<std::uint64_t>(value) + 1;
    do {
      key_.push_back(static_cast<char>((bits & 0x7F) | (bits > 0x7F ? 0x80 : 0)));
      bits >>= 7;
    } while (bits != 0);
  }
  // A deadline: all that is past is due.
  void deadline(instant at) { add(std::max<std::int64_t>(0, (at - now_).count())); }
  // An age: as far back as anybody looks.
  void age(instant at, duration horizon) {
    add(std::clamp<std::int64_t>((now_ - at).count(), 0, horizon.count()));
  }
  void generation(state const& s, generation_number n) {
    auto rank = std::ranges::count_if(s.generations, [&](auto const& g) { return g.number <= n; });
    add(n == no_generation ? 0 : s.find(n) == nullptr ? 1 : 2 + rank);
  }
  std::string take() { return std::move(key_); }

 private:
  instant now_;
  std::string key_;
};

void write(key_writer& k, state const& s, generation const& g, instance const& i) {
  k.add(static_cast<int>(i.phase));
  k.deadline(i.until);
  k.age(i.launched_at, std::max(s.policy.restart.window, g.policy.ready_timeout));
  k.age(i.trying_since.value_or(instant{}), g.policy.ready_timeout);
  k.add(i.watchdog.has_value());
  k.deadline(i.watchdog_due);
  k.add(i.probe != command_number{});
  k.deadline(i.probe_at);
  k.add(std::min(i.failures, 8U) * 4 + static_cast<unsigned>(i.stopped));
}

void write(key_writer& k, state const& s, generation const& g) {
  k.add(static_cast<int>(g.role));
  k.add(g.served);
  k.add(g.candidate_crashes);
  if (g.role == role::standby) k.deadline(g.standby_until);
  if (g.role == role::draining) k.age(g.dismissed_at, g.policy.drain_timeout);
  k.add(s.is_deaf(g));
  k.generation(s, g.number);
  for (auto const& i : g.instances) write(k, s, g, i);
  for (auto past : g.crashes.recent()) k.age(past, s.policy.restart.window);
}

void write(key_writer& k, state const& s, rollout const& r) {
  k.add(static_cast<int>(r.phase));
  k.add(static_cast<int>(r.cause));
  k.generation(s, r.source);
  k.add(static_cast<int>(r.position) * 32 + r.entered + r.held * 2 + r.paused * 4 + r.skips_holds * 8 +
        r.served * 16);
  k.add(r.gate_skipped + r.is_experiment * 2 + r.wish.has_value() * 4);
  k.deadline(r.gate_until.value_or(instant{}));
  for (auto const& m : r.metrics) {
    k.add((m.of_candidate != command_number{}) + (m.of_live != command_number{}) * 2 +
          static_cast<int>(m.last.is) * 4);
    k.deadline(m.next_run);
    k.add(static_cast<std::int64_t>(m.candidate.count()));
    k.add(static_cast<std::int64_t>(m.live.count()));
  }
  k.add(r.weight ? 1 + number(*r.weight) : 0);
  k.deadline(r.hold_until.value_or(instant{}));
  k.generation(s, r.behind);
  k.add(r.hook != command_number{});
  for (auto const& c : r.checks) {
    k.add((c.running != command_number{} ? 1 : 0) + (c.passed ? 2 : 0));
    k.deadline(c.next_run);
    k.add(c.failures);
  }
}

void write(key_writer& k, state const& s) {
  k.add(static_cast<int>(s.lifecycle) * 2 + s.degraded);
  for (auto const& g : s.generations) write(k, s, g);
  k.add(s.rollout.has_value());
  if (s.rollout) write(k, s, *s.rollout);
  k.add(s.pending ? 1 + static_cast<int>(s.pending->cause) : 0);
  for (auto const& c : s.commands) {
    k.add(static_cast<int>(c.what) * 8 + static_cast<int>(c.at));
    k.add(static_cast<int>(c.check));
    k.add(c.instance.index);
    k.generation(s, c.generation);
    k.deadline(c.deadline);
  }
  k.generation(s, s.previous);
  k.add(s.retry_at.has_value());
  k.deadline(s.retry_at.value_or(instant{}));
  k.add(std::min(s.failed_starts, 8U));
}

}  // namespace

std::string world::key() const {
  state const& s = engine_.current();
  key_writer k(now_);
  write(k, s);
  for (auto const& p : processes_) {
    k.generation(s, p.id.generation);
    k.add(p.id.index);
    k.add(static_cast<int>(p.now) * 8 + p.was_told + p.misbehaves * 2 + p.stopped * 4);
    k.age(p.started_at, rules_.now.generation.alive_for);
    k.age(p.told_at, rules_.now.generation.drain_timeout);
  }
  k.add(static_cast<std::int64_t>(ghosts_.size()));
  for (auto const& r : releases_) {
    if (!r.kept) continue;
    k.generation(s, r.number);
    k.add(r.traffic);
    for (auto h : r.hooks_passed) k.add(static_cast<int>(h));
    for (auto c : r.checks_passed) k.add(static_cast<std::int64_t>(c));
  }
  for (auto const& one : slots_) {
    k.generation(s, one.of);
    k.add(one.open + one.settling * 2 + one.closing * 4);
  }
  for (auto const& [number, r] : rollouts_)
    if (!r.settled) k.add((r.verdict ? 1 + static_cast<int>(*r.verdict) : 0) * 4 + r.started * 2 + r.served);
  k.generation(s, live_);
  k.add(live_ > deaf_up_to_);
  k.add(next_is_broken_ * 32 + next_is_missing_ * 16 + stop_asked_ * 8 + finished_ * 4 + rules_.stops * 2 +
        listener_lost_);
  k.add(rules_.triggers);
  k.add(rules_.mischief);
  return k.take();
}

}  // namespace handoff::sim
