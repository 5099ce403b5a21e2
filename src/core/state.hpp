// Everything a supervisor knows when it decides: generations with their instances, the rollout under way, the
// one trigger behind it, the commands in flight. Plain values; deadlines are moments, not timers.
#pragma once

#include <core/gate.hpp>
#include <core/ids.hpp>
#include <core/plan.hpp>
#include <core/policy.hpp>
#include <core/restarts.hpp>
#include <core/split.hpp>

#include <optional>
#include <string>
#include <vector>

namespace handoff {

//   queued ──► launching ──► starting ──► ready
//     ▲            │             │          │        dismissed: settling ──► draining ──► killed ──► gone
//     └────────────┴── crashed ──┴──────────┘        not answering (start, watchdog): killed, then again
//     queued
// Settling: its slots have lost their traffic, and it still takes what waits in them.
enum class instance_phase { queued, launching, starting, ready, settling, draining, killed, gone };

// Whether an instance of live was stopped by a rolling upgrade, and is wanted again since that rolled back.
enum class stopping { no, yes, wanted_again };

struct instance {
  instance_id id;
  instance_phase phase = instance_phase::queued;
  instant until{};  // queued: not before; launching, starting: ready deadline; settling: drain; draining:
                    // kill; killed: kill again
  instant launched_at{};
  std::optional<instant>
      trying_since;                  // launches that failed for want of resources are tried again since then
  instant watchdog_due{};            // when ready and watched
  std::optional<duration> watchdog;  // WATCHDOG_USEC= may change it
  command_number probe{};            // is_probed(): the run in flight
  instant probe_at{};                // is_probed(): the next run; readiness::alive: ready then
  std::string probe_failure;         // is_probed(): why it is not ready yet
  std::uint32_t failures = 0;        // in a row
  std::uint32_t restarts = 0;
  handoff::stopping stopped = stopping::no;

  bool is_running() const { return phase != instance_phase::queued && phase != instance_phase::gone; }
};

enum class role { candidate, live, standby, draining };

struct generation {
  generation_number number{};
  generation_policy policy;
  handoff::role role = role::candidate;
  std::vector<instance> instances;
  crash_history crashes;
  rollout_number dismissed_by{};  // draining: whose verdict sent it away; 0: a stop, or the end of standby
  instant dismissed_at{};         // draining: since when
  instant standby_until{};        // standby
  bool served = false;            // was live once
  std::uint32_t candidate_crashes = 0;
};

enum class cause { start, signal, request, retry, rollback, repair };

struct check_progress {
  command_number running{};
  instant next_run{};
  std::uint32_t failures = 0;  // in a row
  bool passed = false;
};

struct metric_progress {
  command_number of_candidate{};  // running
  command_number of_live{};
  instant next_run{};
  measurement candidate, live;
  std::string trouble;  // of the look under way
  std::string unread;   // why live, which is measured for the report only, could not be read last
  judged last;

  bool is_running() const { return of_candidate != command_number{} || of_live != command_number{}; }
};

enum class rollout_phase { waiting_for_room, preparing, executing };

// Of a rollout that must be an experiment, or be refused.
struct experiment_wish {
  std::optional<handoff::weight> weight;  // of the candidate; none: as configured
};

struct rollout {
  rollout_number number{};
  handoff::cause cause = cause::start;
  generation_number source{};  // rollback, repair: whose release is launched again
  std::optional<experiment_wish> wish;
  rollout_phase phase = rollout_phase::waiting_for_room;
  generation_number candidate{};  // none until prepared
  handoff::plan plan;
  std::size_t position = 0;
  bool entered = false;  // plan[position] was begun
  instant started{};
  operator_policy policy;                 // as it was when the plan was made
  bool is_experiment = false;             // live and candidate are compared until somebody concludes
  std::optional<handoff::weight> weight;  // the candidate's; none before it gets any traffic
  std::optional<instant> hold_until;      // of the hold under way; none: until somebody promotes
  bool held = false;                      // the time of the hold under way is over
  bool gate_skipped = false;              // somebody promoted it
  std::optional<instant> gate_until;      // held, but a metric is inconclusive: then it has failed
  bool skips_holds = false;               // somebody promoted it for good
  bool paused = false;                    // the step under way is not left
  bool served = false;                    // the fact `serving` was told
  generation_number behind{};             // a standby generation that leaves before
  command_number hook{};                  // in flight
  std::vector<check_progress> checks;
  std::vector<metric_progress> metrics;
};

struct trigger {
  rollout_number number{};
  handoff::cause cause = cause::start;
  generation_number source{};
  std::optional<experiment_wish> wish;
};

struct command {
  enum class purpose { hook, check, metric, probe };
  command_number number{};
  purpose what = purpose::hook;
  hook at = hook::preflight;  // purpose::hook
  std::size_t check = 0;      // purpose::check
  std::size_t metric = 0;     // purpose::metric
  instance_id instance;       // purpose::probe
  generation_number generation{};
  rollout_number rollout{};  // whose it is; 0: a probe of a restart
  instant deadline{};
};

enum class lifecycle { running, stopping, stopped };  // stopped: everything is gone

struct state {
  operator_policy policy;
  handoff::lifecycle lifecycle = lifecycle::running;
  std::vector<generation> generations;  // at most one candidate, one live, one standby
  std::optional<handoff::rollout> rollout;
  std::optional<trigger> pending;  // what all triggers during a rollout became
  std::vector<command> commands;
  generation_number previous{};  // what a rollback goes to; its release is kept though it may be gone
  generation_number last_generation{};
  rollout_number last_rollout{};
  command_number last_command{};
  generation_number deaf_up_to{};   // these and older ones hold a listening socket that was replaced
  traffic_split split;              // as it was performed last
  std::optional<instant> retry_at;  // nothing serves, or live is deaf: the next try
  std::uint32_t failed_starts = 0;  // in a row
  bool degraded = false;
  bool preparing = false;  // the release store has not answered yet, though nobody may want it any more

  generation const* with_role(role) const;
  generation const* find(generation_number) const;
  bool is_deaf(generation const& g) const { return g.number <= deaf_up_to; }
  generation* with_role(role);
  generation* find(generation_number);
  instance* find(instance_id const&);  // nothing for an earlier incarnation
  std::size_t draining() const;
};

// The earliest moment at which step() wants to hear that time passed.
std::optional<instant> next_deadline(state const&);

// Whether there may be one generation more: not too many drain, and each listener has a slot for it.
bool has_room(state const&);

// Whether a step of it holds.
bool is_holding(rollout const&);

// Whether a check runs in the step under way: until it has passed, or for as long as it holds.
bool is_watched(rollout const&, std::size_t check);

// Whether a metric decides about the step that holds: live without traffic has nothing to compare with.
bool is_measured(rollout const&, std::size_t metric);
// Whether the step under way waits for its answer, also while it cannot be measured: at 100 %, set by hand,
// live has no traffic to compare with.
bool is_asked(rollout const&, std::size_t metric);

// Whether a rollout goes no further before somebody says so.
bool waits_for_a_person(rollout const&);

// Until when a dismissed instance may stay before it is killed.
instant leaves_by(generation const&, instance const&);

// The stage of a rollout under way: "starting 2 instances", "baking".
std::string stage_of(rollout const&);

std::string_view to_string(instance_phase);
std::string_view to_string(role);
std::string_view to_string(cause);

}  // namespace handoff
