// Everything the core asks for, as values, and what it says about it.
#pragma once

#include <core/ids.hpp>
#include <core/split.hpp>
#include <core/state.hpp>
#include <core/verdict.hpp>

#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace handoff {

namespace act {

// Read the configuration, or take the kept release of `source`; open the executable, bind new listeners.
struct prepare {
  rollout_number rollout{};
  generation_number generation{};
  generation_number source{};  // none: from the configuration
  bool beside_live = false;    // so that an experiment can be one
  bool must_be_experiment = false;
};
struct launch {
  instance_id id;
};
struct ask_to_drain {
  instance_id id;
};
struct kill_instance {  // SIGKILL to all its processes
  instance_id id;
};
struct abort_instance {  // SIGABRT: the watchdog bit
  instance_id id;
};
struct run_command {
  handoff::command command;
};
struct cancel_command {
  command_number command{};
};
// Divides the traffic of steered listeners. Of shared ones every generation that holds them accepts.
struct split_traffic {
  traffic_split split;
};
struct settle_traffic {  // of a generation that lost it
  generation_number generation{};
  instant by{};  // then its processes are told to drain in any case
};
struct close_slots {  // its processes were told to drain: what they leave waiting moves on
  generation_number generation{};
};
struct remove_slots {  // its processes are gone
  generation_number generation{};
};
struct reopen_listener {
  std::size_t listener = 0;
  generation_number slot{};  // none: everybody's
  generation_number by{};    // who shut it, as far as is known
};
struct restore_backlogs {};  // a service may have set its own
struct forget {              // the release: nobody will launch it again
  generation_number generation{};
};

}  // namespace act

using action = std::variant<act::prepare, act::launch, act::ask_to_drain, act::kill_instance,
                            act::abort_instance, act::run_command, act::cancel_command, act::split_traffic,
                            act::settle_traffic, act::close_slots, act::remove_slots, act::reopen_listener,
                            act::restore_backlogs, act::forget>;

// What happened, for the log, the watchers, the history and systemd: all of them tell the same.
enum class fact_kind {
  queued,    // a trigger waits for the rollout under way; detail: the cause
  started,   // a rollout began; detail: the cause
  stage,     // the rollout entered a stage; detail: its name
  serving,   // the candidate has all traffic
  holding,   // the candidate has `weight` of the traffic, for `wait` or until somebody promotes
  weighted,  // the candidate's `weight` was changed by hand
  paused,
  resumed,
  verdict,  // the rollout ended
  settled,  // nothing of a rollout that ended is left
  instance_started,
  instance_ready,
  instance_exited,      // detail: how
  instance_restarting,  // `wait` from now; detail: why
  instance_killed,      // detail: why
  draining,             // a generation, for `wait` at most
  standby,              // a generation, for `wait`
  gone,                 // a generation
  degraded,             // detail: why
  recovered,
  listener_reopened,  // `listener`; generation: the suspect
  steering_restored,  // so
  note,
  stopping,
};

struct fact {
  fact_kind kind = fact_kind::note;
  rollout_number rollout{};
  generation_number generation{};
  std::optional<instance_id> instance;
  std::string detail;
  std::optional<handoff::verdict> verdict;
  std::optional<duration> wait;
  std::optional<handoff::weight> weight;
  std::size_t listener = 0;
};

// To whoever asked: the number of the rollout that carries it out, or why not.
struct answer {
  request_number request{};
  std::expected<rollout_number, std::string> outcome;
};

std::string_view to_string(fact_kind);

}  // namespace handoff
