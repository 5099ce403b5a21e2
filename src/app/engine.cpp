#include "engine.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <variant>
#include <vector>

namespace handoff {

namespace {

struct perform_with {
  ports& to;
  void operator()(act::prepare const& a) const { to.releases.prepare(a); }
  void operator()(act::launch const& a) const { to.instances.launch(a.id); }
  void operator()(act::ask_to_drain const& a) const { to.instances.ask_to_drain(a.id); }
  void operator()(act::kill_instance const& a) const { to.instances.kill(a.id); }
  void operator()(act::abort_instance const& a) const { to.instances.abort(a.id); }
  void operator()(act::run_command const& a) const { to.commands.run(a.command); }
  void operator()(act::cancel_command const& a) const { to.commands.cancel(a.command); }
  void operator()(act::split_traffic const& a) const { to.traffic.split(a.split); }
  void operator()(act::settle_traffic const& a) const { to.traffic.settle(a.generation, a.by); }
  void operator()(act::close_slots const& a) const { to.traffic.close_slots(a.generation); }
  void operator()(act::remove_slots const& a) const { to.traffic.remove_slots(a.generation); }
  void operator()(act::reopen_listener const& a) const { to.traffic.reopen(a.listener, a.slot, a.by); }
  void operator()(act::restore_backlogs const&) const { to.traffic.restore_backlogs(); }
  void operator()(act::forget const& a) const { to.releases.forget(a.generation); }
};

// Whom an action sends away.
std::optional<instance_id> leaver(action const& a) {
  if (auto const* asked = std::get_if<act::ask_to_drain>(&a)) return asked->id;
  if (auto const* killed = std::get_if<act::kill_instance>(&a)) return killed->id;
  if (auto const* aborted = std::get_if<act::abort_instance>(&a)) return aborted->id;
  return {};
}

bool is_launch(action const& a) { return std::holds_alternative<act::launch>(a); }
bool is_command(action const& a) { return std::holds_alternative<act::run_command>(a); }

// Of a command that has not been run yet nothing is left to cancel.
bool takes_back(action const& a, std::vector<action>& later) {
  auto const* cancelled = std::get_if<act::cancel_command>(&a);
  return cancelled != nullptr && std::erase_if(later, [&](action const& other) {
                                   auto const* run = std::get_if<act::run_command>(&other);
                                   return run != nullptr && run->command.number == cancelled->command;
                                 }) > 0;
}

bool has_new_interval(happening const& what) {
  auto const* fed = std::get_if<watchdog_fed>(&what);
  return fed != nullptr && fed->interval.has_value();
}

// What a successor has to know although nothing is done and nobody is told.
bool is_silent_change(happening const& what) {
  return std::holds_alternative<policy_changed>(what) || std::holds_alternative<extended>(what) ||
         std::holds_alternative<instance_changed>(what) || std::holds_alternative<listener_replaced>(what) ||
         has_new_interval(what);
}

// What a successor sees by itself and tells once more, so that a new process has the time.
bool is_found_again(happening const& what) { return std::holds_alternative<launched>(what); }

}  // namespace

void engine::perform(action const& a) { std::visit(perform_with{ports_}, a); }

// A log line must not stand before a launch; nobody may be gone, and no command have told the world anything,
// before a successor could know why; and what somebody was told may not be forgotten.
engine::consequences engine::handle_queue() {
  consequences of;
  while (!queue_.empty()) {
    event next{ports_.clock.now(), std::move(queue_.front())};
    queue_.pop_front();
    outcome done = step(state_, next);
    of.changed = of.changed || !done.actions.empty() || !done.answers.empty() ||
                 is_silent_change(next.what) || (!done.facts.empty() && !is_found_again(next.what));
    for (auto& a : done.actions)
      if (leaver(a) || is_launch(a) || is_command(a))
        of.later.push_back(std::move(a));
      else if (!takes_back(a, of.later))
        perform(a);
    std::ranges::move(done.answers, std::back_inserter(of.answers));
    std::ranges::move(done.facts, std::back_inserter(of.facts));
  }
  return of;
}

// Where nobody leaves, launches come before the writing: everybody waits for a new process, and one that is
// not written down is a stranger to a successor, which ends it.
void engine::do_the_rest(consequences const& of) {
  std::vector<instance_id> leavers;
  for (auto const& a : of.later)
    if (auto who = leaver(a)) leavers.push_back(*who);
  bool const writes = of.changed && ports_.memory != nullptr;
  bool const launches_first = leavers.empty();
  for (auto const& a : of.later)
    if (launches_first && is_launch(a)) perform(a);
  if (writes) ports_.memory->keep(state_, of.facts, leavers);
  for (auto const& a : of.answers) ports_.audience.hear(a);
  for (auto const& a : of.later)
    if (!launches_first || !is_launch(a)) perform(a);
  if (writes && !leavers.empty()) ports_.memory->keep(state_, of.facts, {});
}

void engine::run() {
  if (queue_.empty()) return;
  while (!queue_.empty()) {
    auto of = handle_queue();
    do_the_rest(of);
    for (auto const& f : of.facts) ports_.audience.hear(f, state_);
  }
  ports_.clock.wake_at(next_deadline(state_));
  if (state_.lifecycle == lifecycle::stopped) ports_.audience.finish();
}

}  // namespace handoff
