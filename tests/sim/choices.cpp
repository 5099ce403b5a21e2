// What may happen next in the world, and its happening.
#include "world.hpp"

#include <algorithm>
#include <utility>

namespace handoff::sim {

using kind = choice::kind;

void world::add_choices_of(process const& p, std::size_t index) {
  auto add = [&](kind what) { choices_.push_back({what, index}); };
  bool mischief = rules_.mischief > 0;
  switch (p.now) {
    case condition::launching:
      add(kind::launched);
      if (mischief) add(kind::launch_fails);
      if (mischief) add(kind::launch_fails_for_now);
      break;
    case condition::starting:
      add(kind::becomes_ready);
      if (mischief) add(kind::exits);
      if (mischief) add(kind::extends);
      if (mischief) add(kind::pulls_watchdog);
      break;
    case condition::ready:
      if (mischief) add(kind::exits);
      if (rules_.now.generation.watchdog) add(kind::feeds_watchdog);
      break;
    case condition::told:
      add(kind::exits);
      add(kind::becomes_ready);  // too late
      break;
    case condition::killed:
      add(kind::exits);
      add(kind::becomes_ready);
      break;
    case condition::dead:
      break;
  }
}

std::vector<choice> const& world::choices() {
  choices_.clear();
  if (finished_) return choices_;
  if (rules_.triggers > 0)
    for (auto what : {kind::upgrade, kind::request, kind::broken_upgrade, kind::missing_binary,
                      kind::experiment, kind::rollback, kind::abort, kind::promote, kind::promote_fully,
                      kind::pause, kind::resume, kind::set_weight, kind::reload})
      choices_.push_back({what, 0});
  if (holds_back_) return choices_;
  for (std::size_t i = 0; i < processes_.size(); ++i) add_choices_of(processes_[i], i);
  for (std::size_t i = 0; i < commands_.size(); ++i) {
    choices_.push_back({kind::command_succeeds, i});
    if (rules_.mischief > 0) choices_.push_back({kind::command_fails, i});
  }
  for (std::size_t i = 0; i < ghosts_.size(); ++i) choices_.push_back({kind::late_ready, i});
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].settling) choices_.push_back({kind::settles, i});
    if (slots_[i].open && rules_.mischief > 0) choices_.push_back({kind::slot_shut, i});
  }
  if (wake_at_) choices_.push_back({kind::time_passes, 0});
  if (rules_.mischief > 0)
    for (std::size_t i = 0; i < open_.size(); ++i) {
      choices_.push_back({kind::listener_shut, i});
      choices_.push_back({kind::listener_lost, i});
    }
  if (rules_.stops) choices_.push_back({kind::stop, 0});
  if (rules_.mischief > 0) choices_.push_back({kind::supervisor_dies, 0});
  if (rules_.mischief > 0 && rules_.dooms && !doomed_) choices_.push_back({kind::supervisor_will_die, 0});
  bool calm = commands_.empty() &&
              std::ranges::none_of(processes_, [](auto const& p) { return p.now == condition::launching; });
  if (calm && rules_.mischief > 0) choices_.push_back({kind::supervisor_succeeds, 0});
  return choices_;
}

void world::trigger(cause why, request_number request) {
  if (request != request_number{}) ++answers_due_;
  engine_.post(upgrade_requested{why, request, {}});
}

void world::exit_process(process& p, std::string reason) {
  p.now = condition::dead;
  if (ghosts_.size() < 2) ghosts_.push_back(p.id);
  engine_.post(exited{p.id, std::move(reason)});
}

void world::finish_command(std::size_t which, bool success) {
  command done = commands_[which];
  commands_.erase(commands_.begin() + static_cast<std::ptrdiff_t>(which));
  release* of = find(done.generation);
  process* probed = done.what == command::purpose::probe ? find(done.instance) : nullptr;
  if (success && probed != nullptr && probed->now == condition::starting) probed->now = condition::ready;
  if (success && done.what == command::purpose::hook && of != nullptr) of->hooks_passed.insert(done.at);
  if (success && done.what == command::purpose::check && of != nullptr) of->checks_passed.insert(done.check);
  // A metric may also print what decides nothing, or what is no use.
  std::vector<double> numbers;
  bool measures = done.what == command::purpose::metric && success;
  if (measures) {
    double& all = counted_[done.generation];
    all += quiet_ || static_cast<unsigned>(done.number) % 3 != 0 ? 500 : 0;
    numbers = {0, all};
    auto const& metrics = engine_.current().policy.metrics;
    bool flows = done.metric < metrics.size() && metrics[done.metric].kind == metric_kind::flow;
    if (flows) numbers = {all};
    if (!quiet_ && rules_.mischief > 0 && static_cast<unsigned>(done.number) % 7 == 0)
      numbers = flows ? std::vector{all * 3} : std::vector{all / 2, all};
    if (!quiet_ && static_cast<unsigned>(done.number) % 11 == 0) numbers.pop_back();
  }
  engine_.post(command_finished{done.number, success ? std::nullopt : std::optional<std::string>("exited 1"),
                                std::move(numbers)});
}

void world::happen(choice const& c) {
  bool of_people = c.what <= kind::reload && c.what != kind::stop;
  if (of_people && rules_.triggers > 0) --rules_.triggers;
  bool ill = c.what == kind::launch_fails || c.what == kind::launch_fails_for_now ||
             c.what == kind::command_fails || c.what == kind::listener_shut ||
             c.what == kind::listener_lost || c.what == kind::slot_shut || c.what == kind::pulls_watchdog ||
             c.what == kind::extends || c.what == kind::supervisor_dies ||
             c.what == kind::supervisor_will_die || c.what == kind::supervisor_succeeds ||
             (c.what == kind::exits && processes_[c.which].now < condition::told);
  if (ill && rules_.mischief > 0) --rules_.mischief;
  if (rules_.keep_history)
    history_.push_back(std::to_string(now_.time_since_epoch().count()) + " " +
                       std::string(to_string(c.what)) + " " + std::to_string(c.which));
  process* p = c.which < processes_.size() ? &processes_[c.which] : nullptr;
  switch (c.what) {
    case kind::upgrade:
      trigger(cause::signal, {});
      break;
    case kind::request:
      trigger(cause::request, request_number{7});
      break;
    case kind::experiment:
      ++answers_due_;
      engine_.post(upgrade_requested{cause::request, request_number{14}, experiment_wish{weight{2'000}}});
      break;
    case kind::broken_upgrade:
      next_is_broken_ = true;
      trigger(cause::signal, {});
      break;
    case kind::missing_binary:
      next_is_missing_ = true;
      trigger(cause::signal, {});
      break;
    case kind::rollback:
      ++answers_due_;
      engine_.post(rollback_requested{request_number{8}});
      break;
    case kind::abort:
      ++answers_due_;
      engine_.post(abort_requested{request_number{9}});
      break;
    case kind::promote:
    case kind::promote_fully:
      ++answers_due_;
      engine_.post(promote_requested{c.what == kind::promote_fully, request_number{10}});
      break;
    case kind::pause:
      ++answers_due_;
      engine_.post(pause_requested{request_number{11}});
      break;
    case kind::resume:
      ++answers_due_;
      engine_.post(resume_requested{request_number{12}});
      break;
    case kind::set_weight:
      ++answers_due_;
      engine_.post(weight_requested{weight{3'000}, request_number{13}});
      break;
    case kind::stop:
      rules_.stops = !stop_asked_;  // twice at most
      stop_asked_ = true;
      engine_.post(stop_requested{});
      break;
    case kind::reload:
      ++answers_due_;
      engine_.post(policy_changed{rules_.now.policy, request_number{15}});
      break;
    case kind::launched:
      p->now = condition::starting;
      p->started_at = now_;
      engine_.post(launched{p->id});
      break;
    case kind::launch_fails:
    case kind::launch_fails_for_now:
      p->now = condition::dead;
      engine_.post(launch_failed{p->id, "exec: ENOENT", c.what == kind::launch_fails_for_now});
      break;
    case kind::becomes_ready:
      if (p->now == condition::starting && rules_.now.generation.when == readiness::notify)
        p->now = condition::ready;
      engine_.post(became_ready{p->id});
      break;
    case kind::late_ready:
      engine_.post(became_ready{ghosts_[c.which]});
      ghosts_.erase(ghosts_.begin() + static_cast<std::ptrdiff_t>(c.which));
      break;
    case kind::exits:
      exit_process(*p, p->now == condition::killed ? "killed by SIGKILL" : "exited 1");
      break;
    case kind::extends:
      engine_.post(extended{p->id, duration(5000)});
      engine_.post(instance_changed{p->id});
      break;
    case kind::feeds_watchdog:
      engine_.post(watchdog_fed{p->id, {}});
      break;
    case kind::pulls_watchdog:
      p->misbehaves = true;
      engine_.post(watchdog_pulled{p->id});
      break;
    case kind::command_succeeds:
      finish_command(c.which, true);
      break;
    case kind::command_fails:
      finish_command(c.which, false);
      break;
    case kind::listener_shut:
    case kind::listener_lost:
      open_[c.which] = false;
      listener_lost_ = listener_lost_ || c.what == kind::listener_lost;
      engine_.post(listener_shut{c.which});
      break;
    case kind::slot_shut:
      slots_[c.which].open = false;
      engine_.post(listener_shut{0, slots_[c.which].of});
      break;
    case kind::settles:
      slots_[c.which].settling = false;
      engine_.post(traffic_settled{slots_[c.which].of});
      break;
    case kind::supervisor_will_die:
      doomed_ = true;
      break;
    case kind::supervisor_dies:
    case kind::supervisor_succeeds:
      succeed(c.what == kind::supervisor_dies);
      break;
    case kind::time_passes:
      pass_time();
      break;
  }
  // A crowd: all that people want comes in one turn of the loop.
  holds_back_ = rules_.crowds && of_people && rules_.triggers > 0;
  if (holds_back_) return;
  run_engine();
  std::erase_if(processes_, [](auto const& q) { return q.now == condition::dead; });
  check_promises();
}

std::string_view to_string(choice::kind k) {
  constexpr std::string_view names[] = {"upgrade",
                                        "broken upgrade",
                                        "missing binary",
                                        "upgrade request",
                                        "experiment",
                                        "rollback",
                                        "abort",
                                        "promote",
                                        "promote fully",
                                        "pause",
                                        "resume",
                                        "set weight",
                                        "stop",
                                        "reload",
                                        "launched",
                                        "launch fails",
                                        "launch: EAGAIN",
                                        "becomes ready",
                                        "late ready",
                                        "exits",
                                        "extends",
                                        "feeds watchdog",
                                        "pulls watchdog",
                                        "command succeeds",
                                        "command fails",
                                        "listener shut",
                                        "listener lost",
                                        "slot shut",
                                        "settles",
                                        "supervisor will die",
                                        "supervisor dies",
                                        "supervisor succeeds",
                                        "time passes"};
  return names[static_cast<std::size_t>(k)];
}

}  // namespace handoff::sim
