// A strategy expands to a plan: the list of steps that one executor runs. A new strategy is a new list; a new
// way of moving traffic is a new step.
#pragma once

#include <core/policy.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace handoff {

// Runs the hook and goes on when it succeeded.
struct hook_step {
  hook at;
  bool operator==(hook_step const&) const = default;
};
// Launches instances until the candidate has this many, and goes on when all are ready.
struct start_step {
  std::uint32_t instances;
  bool operator==(start_step const&) const = default;
};
// Runs each of the checks until it has passed once.
struct check_step {
  selection checks;
  bool operator==(check_step const&) const = default;
};
// Gives the candidate this part of the traffic, and live the rest.
struct weight_step {
  handoff::weight weight{};
  bool operator==(weight_step const&) const = default;
};
// Watches the candidate at this weight, the old generation standing by undrained.
struct hold_step {
  handoff::weight at{};
  std::optional<duration> time;  // none: until somebody promotes
  selection checks;              // of those with during-bake
  selection metrics;
  bool operator==(hold_step const&) const = default;
};
// Tells instances of live to leave until it has this many, and goes on when they are gone.
struct stop_step {
  std::uint32_t instances;
  bool operator==(stop_step const&) const = default;
};

// Behind the last step the candidate is promoted and the old generation told to drain.
using plan_step = std::variant<hook_step, start_step, check_step, weight_step, hold_step, stop_step>;
using plan = std::vector<plan_step>;

// The plan of the policy's strategy for a candidate. `live_instances` is 0 when there is no old generation to
// fall back to: then all strategies start everything and switch.
plan expand(operator_policy const&, generation_policy const&, std::uint32_t live_instances);

// The way back to a standby generation: it runs already.
plan expand_return(operator_policy const&, std::uint32_t instances);

std::string describe(plan_step const&);  // "starting 2 instances", "checks smoke, deep", "holding at 5 %"

}  // namespace handoff
