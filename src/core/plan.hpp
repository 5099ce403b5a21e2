// A strategy expands to a plan: the list of steps that one executor runs. A new strategy is a new list; a new
// way of moving traffic is a new step.
#pragma once

#include <core/policy.hpp>

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
// Runs each check until it has passed once.
struct check_step {
  bool operator==(check_step const&) const = default;
};
// Gives the candidate its traffic.
struct switch_step {
  bool operator==(switch_step const&) const = default;
};
// Watches the candidate serve, the old generation still standing by undrained.
struct bake_step {
  duration hold;
  bool operator==(bake_step const&) const = default;
};

// Behind the last step the candidate is promoted and the old generation told to drain.
using plan_step = std::variant<hook_step, start_step, check_step, switch_step, bake_step>;
using plan = std::vector<plan_step>;

// `first` is a start with no old generation to fall back to: nothing is gained by baking it.
plan expand(operator_policy const&, generation_policy const&, bool first);

std::string describe(plan_step const&);  // "starting 2 instances", "the preflight hook", "baking"

}  // namespace handoff
