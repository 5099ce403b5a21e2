// One call of step() in progress: the state being changed and what is to come out of it. Internal to core.
#pragma once

#include <core/action.hpp>
#include <core/event.hpp>
#include <core/state.hpp>
#include <core/step.hpp>

#include <utility>

namespace handoff {

struct turn {
  instant now;
  state& s;
  std::vector<action>& actions;
  std::vector<fact>& facts;
  std::vector<answer>& answers;

  void perform(action const& a) { actions.push_back(a); }
  void tell(fact f) { facts.push_back(std::move(f)); }
  void reply(request_number to, std::expected<rollout_number, std::string> outcome) {
    if (to != request_number{}) answers.push_back({to, std::move(outcome)});
  }
};

// ---- instances.cpp

bool all_ready(generation const&);
void dismiss(turn&, generation&, rollout_number by);
void stop_instances(turn&, generation& live, std::uint32_t remaining);
bool have_stopped(generation const& live);
void want_again(turn&, generation& live);  // who was stopped
bool launch_next(turn&);
bool remove_gone(turn&);
void kill_everything(turn&);
void expire_instances(turn&);
void run_due_probes(turn&);
void end_of_probe(turn&, instance_id const&, std::optional<std::string> const& failure);

void on(turn&, launched const&);
void on(turn&, launch_failed const&);
void on(turn&, became_ready const&);
void on(turn&, exited const&);
void on(turn&, extended const&);
inline void on(turn&, instance_changed const&) {}
void on(turn&, watchdog_fed const&);
void on(turn&, watchdog_pulled const&);
void on(turn&, traffic_settled const&);

// ---- commands.cpp

command_number run(turn&, command, duration timeout);
void run_hook_aside(turn&, hook, generation_number, rollout_number);  // nobody waits for it
void cancel(turn&, command_number);
void forget_if_unneeded(turn&, generation_number);  // its release
void expire_commands(turn&);
void on(turn&, command_finished const&);

// ---- rollouts.cpp

void begin(turn&, trigger);
void return_to_standby(turn&, rollout_number);
bool advance(turn&);
void run_due_checks(turn&);
void roll_back(turn&, std::string reason);
void conclude(turn&, verdict);
void expire_rollout(turn&);
void hold_longer(turn&);
void tell_settled(turn&, rollout_number);
void end_of_hook(turn&, hook, std::optional<std::string> const& failure);
void end_of_check(turn&, std::size_t check, std::optional<std::string> const& failure);

void on(turn&, prepared const&);
void on(turn&, preparation_failed const&);

// ---- metrics.cpp

void begin_measuring(turn&, rollout&);
void run_due_metrics(turn&);
void end_of_metric(turn&, command const&, std::optional<std::string> const& failure, metric_reading const&);
void cancel_metrics(turn&, rollout const&);
std::optional<std::string> open_question(rollout const&);  // the first metric that does not pass

// ---- adoption.cpp

void on(turn&, adopted const&);

// ---- requests.cpp

bool begin_pending(turn&);
void expire_retry(turn&);
void expire_standby(turn&);
void on(turn&, upgrade_requested const&);
void on(turn&, rollback_requested const&);
void on(turn&, abort_requested const&);
void on(turn&, promote_requested const&);
void on(turn&, pause_requested const&);
void on(turn&, resume_requested const&);
void on(turn&, weight_requested const&);
void on(turn&, stop_requested const&);
void on(turn&, policy_changed const&);
void on(turn&, listener_shut const&);
void on(turn&, steering_taken const&);
void on(turn&, listener_reopened const&);
void on(turn&, listener_replaced const&);

}  // namespace handoff
