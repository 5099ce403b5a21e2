#include "plan.hpp"

#include <algorithm>
#include <utility>

namespace handoff {

namespace {

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};

std::uint32_t rounded_up(std::uint64_t part, std::uint64_t whole) {
  return static_cast<std::uint32_t>((part + whole - 1) / whole);
}

std::string listed(std::vector<std::string> const& names) {
  std::string text;
  for (auto const& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

class planner {
 public:
  planner(operator_policy const& policy, std::uint32_t instances) : policy_(policy), instances_(instances) {}

  void hook(handoff::hook at) {
    if (policy_.hooks[static_cast<std::size_t>(at)]) steps_.emplace_back(hook_step{at});
  }
  // The gates before traffic stand behind the first instances, whoever comes later, or where a step chose its
  // own.
  void start(std::uint32_t instances, selection const& checks = {}) {
    instances = std::min(instances, instances_);
    std::uint32_t before = std::exchange(started_, std::max(instances, started_));
    if (started_ > before) steps_.emplace_back(start_step{started_});
    bool any = checks ? !checks->empty() : before == 0 && !policy_.checks.empty();
    if (any) steps_.emplace_back(check_step{checks});
    if (before == 0) hook(hook::ready);
  }
  void weigh(handoff::weight w) { steps_.emplace_back(weight_step{w}); }
  void hold(handoff::weight at, std::optional<duration> time) {
    steps_.emplace_back(hold_step{at, time, {}, {}});
  }
  void stop(std::uint32_t remaining) { steps_.emplace_back(stop_step{remaining}); }
  void switch_over(duration bake) {
    start(instances_);
    weigh(full_weight);
    hook(hook::switched);
    if (bake > duration::zero()) hold(full_weight, bake);
  }

  void canary();
  void blue_green();
  void experiment();
  void rolling(std::uint32_t live_instances);

  plan take() { return std::move(steps_); }

 private:
  operator_policy const& policy_;
  std::uint32_t instances_;
  std::uint32_t started_ = 0;
  plan steps_;
};

void planner::canary() {
  auto const& how = policy_.rollout;
  for (auto const& step : how.steps) {
    std::uint32_t needed = rounded_up(std::uint64_t{instances_} * number(step.weight), number(full_weight));
    start(std::max({needed, how.canary_instances, 1U}), step.checks);
    weigh(step.weight);
    if (step.hold != duration::zero())
      steps_.emplace_back(hold_step{step.weight, step.hold, step.checks, step.metrics});
  }
  switch_over(how.bake);
}

void planner::blue_green() {
  start(instances_);
  if (!policy_.rollout.auto_promote) {
    weigh(no_weight);
    hold(no_weight, {});
  }
  switch_over(policy_.rollout.bake);
}

void planner::experiment() {
  start(instances_);
  weigh(policy_.rollout.experiment_weight);
  hold(policy_.rollout.experiment_weight, {});
  switch_over(duration::zero());
}

// Never more than `max_surge` too many, nor more than `max_unavailable` too few; the last old one leaves with
// the promotion, so that there is one to go back to. Before the first new one stands, the old ones are all
// there is: of more than are wanted none leaves for being too many.
void planner::rolling(std::uint32_t live) {
  auto const& how = policy_.rollout;
  std::uint32_t old = live;
  std::uint32_t fewest = instances_ - std::min(instances_, how.max_unavailable);
  auto may_leave = [&] {
    std::uint32_t all_there_is = started_ > 0 ? 0 : live - std::min(live, how.max_unavailable);
    return old - std::min(old, std::max({fewest - std::min(fewest, started_), all_there_is, 1U}));
  };
  while (started_ < instances_) {
    std::uint32_t most = instances_ + how.max_surge;
    std::uint32_t room = most - std::min(most, old + started_);
    std::uint32_t leave = may_leave();
    if (room == 0 && leave == 0) room = 1;
    if (room > 0) {
      start(started_ + room);
      if (started_ == instances_) break;
      weigh(weight{number(full_weight) * started_ / instances_});
      leave = may_leave();
    }
    if (leave > 0) stop(old -= leave);
  }
  switch_over(how.bake);
}

}  // namespace

plan expand(operator_policy const& policy, generation_policy const& generation,
            std::uint32_t live_instances) {
  planner p(policy, generation.instances);
  p.hook(hook::preflight);
  bool first = live_instances == 0;
  switch (first ? strategy::handoff : policy.rollout.strategy) {
    case strategy::handoff:
      p.switch_over(first ? duration::zero() : policy.rollout.bake);
      break;
    case strategy::rolling:
      p.rolling(live_instances);
      break;
    case strategy::blue_green:
      p.blue_green();
      break;
    case strategy::canary:
      p.canary();
      break;
    case strategy::experiment:
      p.experiment();
      break;
  }
  return p.take();
}

plan expand_return(operator_policy const& policy, std::uint32_t instances) {
  plan steps{start_step{instances}, weight_step{full_weight}};
  if (policy.hooks[static_cast<std::size_t>(hook::switched)]) steps.emplace_back(hook_step{hook::switched});
  return steps;
}

std::string describe(plan_step const& step) {
  auto instances = [](std::uint32_t n) { return std::to_string(n) + (n == 1 ? " instance" : " instances"); };
  return std::visit(
      overloaded{[](hook_step h) { return "the " + std::string(to_string(h.at)) + " hook"; },
                 [&](start_step s) { return "starting " + instances(s.instances); },
                 [](check_step const& c) { return "checks" + (c.checks ? " " + listed(*c.checks) : ""); },
                 [](weight_step w) {
                   return w.weight == full_weight ? "switching traffic" : "moving " + spell(w.weight);
                 },
                 [](hold_step const& h) {
                   if (!h.time) return "waiting at " + spell(h.at) + " to be promoted";
                   return h.at == full_weight ? "baking" : "holding at " + spell(h.at);
                 },
                 [&](stop_step s) { return "stopping live down to " + instances(s.instances); }},
      step);
}

}  // namespace handoff
