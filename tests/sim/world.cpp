#include "world.hpp"

#include <wire/snapshot.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace handoff::sim {

world::world(rules r) : rules_(std::move(r)), engine_(all_ports(), state{.policy = rules_.now.policy}) {
  open_.assign(rules_.listeners, true);
}

world::world(world const& o)
    : rules_(o.rules_),
      engine_(all_ports(), o.engine_.current()),
      now_(o.now_),
      wake_at_(o.wake_at_),
      processes_(o.processes_),
      ghosts_(o.ghosts_),
      releases_(o.releases_),
      commands_(o.commands_),
      lost_(o.lost_),
      open_(o.open_),
      slots_(o.slots_),
      split_(o.split_),
      splits_again_(o.splits_again_),
      doomed_(o.doomed_),
      dead_(o.dead_),
      parting_(o.parting_),
      kept_(o.kept_),
      never_launched_(o.never_launched_),
      counted_(o.counted_),
      rollouts_(o.rollouts_),
      accepted_(o.accepted_),
      live_(o.live_),
      live_was_told_(o.live_was_told_),
      listener_lost_(o.listener_lost_),
      deaf_up_to_(o.deaf_up_to_),
      holds_back_(o.holds_back_),
      wakes_in_vain_(o.wakes_in_vain_),
      next_is_broken_(o.next_is_broken_),
      next_is_missing_(o.next_is_missing_),
      stop_asked_(o.stop_asked_),
      finished_(o.finished_),
      quiet_(o.quiet_),
      answers_due_(o.answers_due_),
      queued_(o.queued_),
      broken_(o.broken_),
      history_(o.history_) {}

void world::start() {
  engine_.post(upgrade_requested{cause::start, {}});
  engine_.run();
  check_promises();
}

// Costs as much as ten lives, so that few do it.
state world::through_bytes(state const& s) {
  snapshot written{.state = s};
  for (auto const& r : releases_) written.releases.push_back({.number = r.number});
  auto bytes = encode_snapshot(written);
  auto read = bytes ? decode_snapshot(*bytes) : result<snapshot>(std::unexpected(bytes.error()));
  auto again = read ? encode_snapshot(*read) : result<std::string>(std::unexpected(read.error()));
  expect(again && *again == *bytes, "1: a successor knows what its predecessor knew");
  return read ? std::move(read->state) : s;
}

void world::run_engine() {
  engine_.run();
  if (!std::exchange(dead_, false)) return;
  succeed(true, parting_);
  engine_.run();
}

// Another engine goes on with the state, and whoever was being launched by the dead one was launched.
void world::succeed(bool predecessor_died, std::vector<instance_id> const& parting) {
  state const& known = predecessor_died && kept_ ? *kept_ : engine_.current();
  state left = rules_.writes ? through_bytes(known) : known;
  if (predecessor_died) commands_ = left.commands;  // one that had ended is run again
  std::destroy_at(&engine_);
  std::construct_at(&engine_, all_ports(), std::move(left));
  splits_again_ = true;
  for (auto& s : slots_) s.settling = s.closing = false;
  if (predecessor_died)
    for (auto const& c : commands_) lost_.insert(c.number);
  for (auto& p : processes_) {
    if (p.now != condition::launching) continue;
    p.now = condition::starting;
    p.started_at = now_;
  }
  std::vector<instance_id> launched_by_now;
  for (auto const& g : engine_.current().generations)
    for (auto const& i : g.instances)
      if (i.phase == instance_phase::launching && find(i.id) != nullptr) launched_by_now.push_back(i.id);
  engine_.post(adopted{predecessor_died, parting, std::move(launched_by_now)});
  for (auto const& g : engine_.current().generations)
    for (auto const& i : g.instances)
      if (i.is_running() && find(i.id) == nullptr) {
        never_launched_.insert(i.id);
        engine_.post(exited{i.id, "ended, nobody knows how"});
      }
}

// A doomed supervisor dies between writing and doing.
void world::keep(state const& s, std::vector<fact> const&, std::vector<instance_id> const& parting) {
  if (kept_.use_count() == 1)
    *kept_ = s;  // what it has allocated serves again
  else
    kept_ = std::make_shared<state>(s);
  if (!std::exchange(doomed_, false)) return;
  dead_ = true;
  parting_ = parting;
}

// A deadline that is due again and again would keep a real loop from ever sleeping.
void world::pass_time() {
  constexpr unsigned most = 4;
  wakes_in_vain_ = *wake_at_ <= now_ ? wakes_in_vain_ + 1 : 0;
  expect(wakes_in_vain_ < most, "7: what is due is done");
  now_ = std::max(now_, *wake_at_);
  engine_.post(time_passed{});
}

}  // namespace handoff::sim
