// A world of fake processes, commands and listeners around the engine that ships. What may happen next is
// enumerated, so that a random walk and an exhaustive search can share it; after everything that happens the
// promises are checked against what the world saw, not against what the engine believes.
#pragma once

#include <app/engine.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace handoff::sim {

// What a configuration on "disk" says when it is read.
struct configuration {
  generation_policy generation;
  operator_policy policy;
};

enum class condition {
  launching,  // the launcher runs
  starting,   // the service runs
  ready,
  told,    // asked to drain
  killed,  // SIGKILL is on its way
  dead
};

struct process {
  instance_id id;
  condition now = condition::launching;
  bool was_told = false;
  bool deaf = false;        // will not leave when told
  bool misbehaves = false;  // late or silent: a kill is justified
  bool stopped = false;     // told by a rolling upgrade, though its generation is live
  instant started_at{};
  instant told_at{};
  bool operator==(process const&) const = default;
};

struct release {  // what the world knows of a generation
  generation_number number{};
  generation_number same_as{};  // made from another one's release
  std::uint32_t instances = 0;
  duration drain_timeout{};
  bool kept = true;
  std::set<std::size_t> checks_passed;
  std::set<hook> hooks_passed;
  bool traffic = false;
  bool operator==(release const&) const = default;
};

// A generation's own sockets, and what is known of them.
struct slot {
  generation_number of{};
  bool open = true;       // it listens
  bool settling = false;  // somebody waits for its queue to be empty
  bool closing = false;   // whoever takes from it was told to leave
  bool operator==(slot const&) const = default;
};

struct rollout_record {
  std::optional<verdict_kind> verdict;
  generation_number generation{};
  bool started = false;
  bool served = false;
  bool settled = false;
  bool operator==(rollout_record const&) const = default;
};

// One thing that may happen next.
struct choice {
  enum class kind {
    upgrade,
    broken_upgrade,
    missing_binary,
    request,
    experiment,
    rollback,
    abort,
    promote,
    promote_fully,
    pause,
    resume,
    set_weight,
    stop,
    reload,
    launched,
    launch_fails,
    launch_fails_for_now,
    becomes_ready,
    late_ready,
    exits,
    extends,
    feeds_watchdog,
    pulls_watchdog,
    command_succeeds,
    command_fails,
    listener_shut,
    listener_lost,
    slot_shut,
    settles,
    supervisor_will_die,
    supervisor_dies,
    supervisor_succeeds,
    time_passes
  };
  kind what = kind::time_passes;
  std::size_t which = 0;  // process, command, listener or slot
};
std::string_view to_string(choice::kind);

// What a world allows, and how it is made.
struct rules {
  configuration now;
  std::size_t listeners = 1;
  unsigned triggers = 3;   // upgrades, rollbacks, reloads that people still ask for
  unsigned mischief = 99;  // crashes, launch failures, shut listeners that still happen
  bool stops = true;
  bool crowds = false;  // what people ask for comes all at once
  bool dooms = false;   // supervisors die in the middle of a turn, too
  bool grows = false;   // and shrinks: releases have other numbers of instances
  bool writes = false;  // a successor gets the state in bytes, as it does from a real predecessor
  bool keep_history = false;
};

class world final : launcher, release_store, command_runner, traffic, alarm_clock, audience, remembrance {
 public:
  explicit world(rules);
  world(world const&);  // a copy goes its own way
  world& operator=(world const&) = delete;

  void start();
  std::vector<choice> const& choices();
  void happen(choice const&);

  // No more mischief or triggers: what still must happen, happens, until all rests. False: it does not come
  // to rest.
  bool come_to_rest();

  // The first promise that was broken, and how; empty while all hold.
  std::string const& broken() const { return broken_; }
  std::string key() const;  // equal for worlds with the same future
  bool finished() const { return finished_; }
  bool started_serving() const { return live_ != no_generation; }
  std::vector<std::string> const& history() const { return history_; }
  state const& current() const { return engine_.current(); }

 private:
  // ports
  void launch(instance_id const&) override;
  void ask_to_drain(instance_id const&) override;
  void kill(instance_id const&) override;
  void abort(instance_id const&) override;
  void prepare(act::prepare const&) override;
  void forget(generation_number) override;
  void run(command const&) override;
  void cancel(command_number) override;
  void split(traffic_split const&) override;
  void settle(generation_number, instant by) override;
  void close_slots(generation_number) override;
  void remove_slots(generation_number) override;
  void reopen(std::size_t listener, generation_number slot, generation_number by) override;
  void restore_backlogs() override {}  // nothing overflows here
  instant now() override { return now_; }
  void wake_at(std::optional<instant> when) override { wake_at_ = when; }
  void hear(fact const&, state const&) override;
  void hear(answer const&) override;
  void finish() override;
  void keep(state const&, std::vector<fact> const&, std::vector<instance_id> const& parting) override;

  void record_verdict(fact const&);
  void finish_command(std::size_t which, bool success);
  void trigger(cause, request_number);
  void exit_process(process&, std::string reason);
  void pass_time();
  void run_engine();
  void succeed(bool predecessor_died, std::vector<instance_id> const& parting = {});
  state through_bytes(state const&);
  void add_choices_of(process const&, std::size_t index);
  bool rests() const;
  bool is_ready(process const&) const;
  std::uint32_t ready_of(generation_number) const;
  void help_along();

  // promises.cpp
  bool has_passed(release const&) const;
  void check_promises();
  void check_traffic();
  void check_processes();
  void check_rest();
  void expect(bool holds, char const* promise);
  void expect_enough_stay(generation const& live);

  process* find(instance_id const&);
  release* find(generation_number);
  slot* find_slot(generation_number);
  slot const* find_slot(generation_number) const;
  std::uint32_t part_of(generation_number) const;  // of the split
  bool is_chosen(generation_number) const;         // by the split, be it as the last resort
  ports all_ports() { return {*this, *this, *this, *this, *this, *this, this}; }

  rules rules_;
  engine engine_;
  instant now_{duration(1'000'000)};
  std::optional<instant> wake_at_;
  std::vector<process> processes_;
  std::vector<instance_id> ghosts_;  // gone, their last words still under way
  std::vector<release> releases_;
  std::vector<command> commands_;
  std::set<command_number> lost_;  // of these: they ran when the supervisor died
  std::vector<bool> open_;         // listeners
  std::vector<slot> slots_;
  traffic_split split_;
  bool splits_again_ = false;  // a successor makes sure
  bool doomed_ = false;        // the supervisor dies with its next writing
  bool dead_ = false;
  std::vector<instance_id> parting_;
  std::shared_ptr<state> kept_;                  // what a successor of one that dies knows
  std::set<instance_id> never_launched_;         // since it died
  std::map<generation_number, double> counted_;  // by metrics
  std::map<rollout_number, rollout_record> rollouts_;
  std::set<rollout_number> accepted_;
  generation_number live_{};
  bool live_was_told_ = false;
  bool listener_lost_ = false;      // the next one that is opened again is another socket
  generation_number deaf_up_to_{};  // who holds a dead socket until live is launched anew
  bool holds_back_ = false;         // the engine has not run yet: more is to come
  unsigned wakes_in_vain_ = 0;      // in a row, without time passing
  bool next_is_broken_ = false;
  bool next_is_missing_ = false;
  bool stop_asked_ = false;
  bool finished_ = false;
  bool quiet_ = false;
  unsigned answers_due_ = 0;
  std::optional<rollout_number> queued_;  // what triggers during a rollout were told
  std::string broken_;
  std::vector<choice> choices_;
  std::vector<std::string> history_;
};

// One random life: its configuration, its events and its rest all follow from the seed. Empty when every
// promise held.
std::string live_through(std::uint64_t seed, std::vector<std::string>* history);

}  // namespace handoff::sim
