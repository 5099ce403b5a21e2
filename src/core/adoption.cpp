// What follows from having been taken over by a successor, on purpose or after a death.
#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

// What its slots were told is done again: whoever held them may not have lived to do it.
void take_up_slots(turn& t, generation const& g) {
  if (!g.policy.steered || g.role != role::draining) return;
  auto settling = std::ranges::find(g.instances, instance_phase::settling, &instance::phase);
  if (settling == g.instances.end()) return t.perform(act::close_slots{g.number});
  t.perform(act::settle_traffic{g.number, settling->until});
}

void part_again(turn& t, instance_id const& id) {
  for (auto const& g : t.s.generations)
    for (auto const& i : g.instances) {
      if (i.id != id) continue;
      if (i.phase == instance_phase::draining) t.perform(act::ask_to_drain{id});
      if (i.phase == instance_phase::killed) t.perform(act::kill_instance{id});
    }
}

// Who was launched and not noted has the number that would come next, and may speak up still.
void skip_incarnation(generation& g) {
  for (auto& i : g.instances)
    if (i.phase == instance_phase::queued) ++i.id.incarnation;
}

// A word of a service that went unread is no reason to bite it.
void forgive_silence(turn& t, generation& g) {
  for (auto& i : g.instances)
    if (i.watchdog) i.watchdog_due = t.now + *i.watchdog;
}

// Who has all of the traffic is promoted or not as it turns out.
void end_interrupted_rollout(turn& t) {
  t.s.preparing = false;
  if (t.s.rollout && t.s.rollout->weight != full_weight) roll_back(t, "supervisor died");
}

}  // namespace

void on(turn& t, adopted const& e) {
  command_number const last = t.s.last_command;
  // They may serve by now, and leave as such when they must.
  for (auto const& id : e.launched) on(t, launched{id});
  t.s.split = {};  // so that it is performed
  for (auto& g : t.s.generations) {
    take_up_slots(t, g);
    if (!e.predecessor_died) continue;
    forgive_silence(t, g);
    skip_incarnation(g);
  }
  for (auto const& id : e.parting) part_again(t, id);
  if (!e.predecessor_died) return;
  end_interrupted_rollout(t);
  for (auto const& c : t.s.commands)
    if (c.number <= last) t.perform(act::run_command{c});
}

}  // namespace handoff
