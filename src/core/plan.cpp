#include "plan.hpp"

namespace handoff {

namespace {

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};

}  // namespace

plan expand(operator_policy const& policy, generation_policy const& generation, bool first) {
  plan steps;
  auto add_hook = [&](hook at) {
    if (policy.hooks[static_cast<std::size_t>(at)]) steps.push_back(hook_step{at});
  };
  add_hook(hook::preflight);
  steps.push_back(start_step{generation.instances});
  if (!policy.checks.empty()) steps.push_back(check_step{});
  add_hook(hook::ready);
  steps.push_back(switch_step{});
  add_hook(hook::switched);
  if (policy.rollout.bake > duration::zero() && !first) steps.push_back(bake_step{policy.rollout.bake});
  return steps;
}

std::string describe(plan_step const& step) {
  return std::visit(overloaded{[](hook_step h) { return "the " + std::string(to_string(h.at)) + " hook"; },
                               [](start_step s) {
                                 return "starting " + std::to_string(s.instances) +
                                        (s.instances == 1 ? " instance" : " instances");
                               },
                               [](check_step) { return std::string("checks"); },
                               [](switch_step) { return std::string("switching traffic"); },
                               [](bake_step) { return std::string("baking"); }},
                    step);
}

}  // namespace handoff
