#include "engine.hpp"

#include <iterator>
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
  void operator()(act::reopen_listener const& a) const { to.traffic.reopen(a.listener, a.slot); }
  void operator()(act::forget const& a) const { to.releases.forget(a.generation); }
};

}  // namespace

void engine::perform(action const& a) { std::visit(perform_with{ports_}, a); }

void engine::run() {
  if (queue_.empty()) return;
  std::vector<fact> told;  // when all is done: a log line must not stand before a launch
  while (!queue_.empty()) {
    event next{ports_.clock.now(), std::move(queue_.front())};
    queue_.pop_front();
    transition t = step(std::move(state_), next);
    state_ = std::move(t.next);
    for (auto const& a : t.actions) perform(a);
    for (auto const& a : t.answers) ports_.audience.hear(a);
    told.insert(told.end(), std::make_move_iterator(t.facts.begin()), std::make_move_iterator(t.facts.end()));
  }
  for (auto const& f : told) ports_.audience.hear(f, state_);
  ports_.clock.wake_at(next_deadline(state_));
  if (state_.lifecycle == lifecycle::stopped) ports_.audience.finish();
}

}  // namespace handoff
