// Everything that can happen, as values. Time is one of them.
#pragma once

#include <core/ids.hpp>
#include <core/policy.hpp>
#include <core/state.hpp>
#include <core/verdict.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace handoff {

// ---- what people ask for; the answer carries the request's number

struct upgrade_requested {
  handoff::cause cause = cause::request;
  request_number request{};
  std::optional<experiment_wish> wish;
};
struct rollback_requested {
  request_number request{};
};
struct abort_requested {
  request_number request{};
};
struct promote_requested {  // ends the hold under way
  bool full = false;        // and every later one
  request_number request{};
};
struct pause_requested {
  request_number request{};
};
struct resume_requested {
  request_number request{};
};
struct weight_requested {
  handoff::weight weight{};
  request_number request{};
};
struct stop_requested {  // a second one kills at once
  request_number request{};
};
struct policy_changed {  // `handoff reload`
  operator_policy policy;
  request_number request{};
};

// ---- what became of actions

struct prepared {
  rollout_number rollout{};
  generation_number number{};
  generation_policy generation;
  operator_policy policy;
};
struct preparation_failed {
  rollout_number rollout{};
  handoff::verdict verdict;
};
struct launched {
  instance_id id;
};
struct launch_failed {  // instead of exited
  instance_id id;
  std::string reason;
  bool transient = false;  // EAGAIN, ETOOMANYREFS: worth trying again
};
struct command_finished {
  command_number command{};
  std::optional<std::string> failure;
  std::vector<double> numbers;  // of a metric: what it printed last
};

// ---- what services do

struct became_ready {  // READY=1; counts where the generation waits for it
  instance_id id;
};
struct exited {
  instance_id id;
  std::string reason;  // "exited 1", "killed by SIGSEGV"
};
struct extended {  // EXTEND_TIMEOUT_USEC=
  instance_id id;
  duration by{};
};
struct watchdog_fed {
  instance_id id;
  std::optional<duration> interval;  // WATCHDOG_USEC=
};
struct watchdog_pulled {  // WATCHDOG=trigger
  instance_id id;
};
struct instance_changed {  // its main process, what it stored: nothing for us, but a successor has to know
  instance_id id;
};
struct listener_shut {  // by a service: its own slot, or the socket of all
  std::size_t listener = 0;
  generation_number slot{};  // none: everybody's
};
struct listener_reopened {
  std::size_t listener = 0;
  generation_number by{};  // whom it was shut by
};
struct listener_replaced {  // it could not be opened again: who holds the old socket is deaf
  std::size_t listener = 0;
};
struct steering_taken {  // its program was taken away by a service, and is back
  std::size_t listener = 0;
};

// Nothing waits any more for a generation that lost its traffic: its queues are empty, its UDP flows silent.
struct traffic_settled {
  generation_number generation{};
};

// The state is a predecessor's, and what it names was taken over: the first thing that happens then. Of one
// that died, commands in flight are lost, and so may be news that it did not live to note.
struct adopted {
  bool predecessor_died = false;
  std::vector<instance_id> parting;   // that it was about to part with, and perhaps did
  std::vector<instance_id> launched;  // since it wrote that it was launching them
};

struct time_passed {};

using happening =
    std::variant<upgrade_requested, rollback_requested, abort_requested, promote_requested, pause_requested,
                 resume_requested, weight_requested, stop_requested, policy_changed, prepared,
                 preparation_failed, launched, launch_failed, command_finished, became_ready, exited,
                 extended, watchdog_fed, watchdog_pulled, instance_changed, listener_shut, listener_reopened,
                 listener_replaced, steering_taken, traffic_settled, adopted, time_passed>;

struct event {
  instant at{};
  happening what;
};

}  // namespace handoff
