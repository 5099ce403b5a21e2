#include "world.hpp"

#include <wire/snapshot.hpp>

#include <algorithm>
#include <memory>

namespace handoff::sim {

using kind = choice::kind;

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
      previous_(o.previous_),
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

// ---- what may happen next

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

// Costs as much as the rest of a life, so that few lives do it.
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
  std::vector<instance_id> launched_by_now;
  for (auto& p : processes_) {
    if (p.now != condition::launching) continue;
    p.now = condition::starting;
    p.started_at = now_;
    launched_by_now.push_back(p.id);
  }
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
  kept_ = std::make_shared<state const>(s);
  if (parting.empty() || !std::exchange(doomed_, false)) return;
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

// ---- ports

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
  if (p->now != condition::killed) p->now = condition::told;
  p->was_told = true;
  p->told_at = now_;
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
  releases_.push_back({.number = a.generation,
                       .same_as = a.source,
                       .instances = rules_.now.generation.instances,
                       .drain_timeout = rules_.now.generation.drain_timeout});
  expect(!rules_.now.generation.steered || slots_.size() < rules_.now.generation.slots,
         "2: there is a slot for a candidate that is prepared");
  if (rules_.now.generation.steered) slots_.push_back({.of = a.generation});
  engine_.post(prepared{a.rollout, a.generation, rules_.now.generation, rules_.now.policy});
}

void world::forget(generation_number n) {
  release* r = find(n);
  expect(r != nullptr && r->kept, "7: a release is forgotten once");
  expect(n != live_ || stop_asked_, "4: live's release is kept");
  if (r != nullptr) r->kept = false;
}

void world::run(command const& c) {
  auto is_it = [&](auto const& other) { return other.number == c.number; };
  bool again = lost_.erase(c.number) > 0;
  expect(std::ranges::any_of(commands_, is_it) == again, "7: only a command that was lost is run again");
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
  expect(s != nullptr && part_of(g) == 0, "2: who settles has lost its traffic");
  if (s != nullptr) s->settling = true;
}

void world::close_slots(generation_number g) {
  slot* s = find_slot(g);
  expect(s != nullptr && !s->closing, "7: slots are closed once");
  if (s == nullptr) return;
  s->closing = true;
  s->settling = false;
}

void world::remove_slots(generation_number g) {
  auto left = std::ranges::count_if(
      processes_, [&](auto const& p) { return p.id.generation == g && p.now != condition::dead; });
  expect(left == 0, "1: slots go when their processes are gone");
  expect(std::erase_if(slots_, [&](auto const& s) { return s.of == g; }) == 1, "7: slots are removed once");
}

void world::reopen(std::size_t listener, generation_number of) {
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
