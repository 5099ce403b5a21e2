#include "forecast.hpp"

#include <app/story.hpp>

#include <algorithm>
#include <optional>

namespace handoff {

namespace {

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};

std::string instances_text(std::uint32_t n, char const* more) {
  return std::to_string(n) + " " + more + (n == 1 ? "instance" : "instances");
}

std::string one_or_many(std::string const& what, std::vector<std::string> const& names) {
  std::string text = what + (names.size() == 1 ? " " : "s ");
  for (std::size_t n = 0; n < names.size(); ++n) text += (n == 0 ? "" : ", ") + names[n];
  return names.empty() ? "" : text;
}

std::string in_quotes(std::string const& name) { return "'" + name + "'"; }

// "check 'smoke'", "checks 'smoke', 'deep'"; empty when there is none.
std::string tell_checks(operator_policy const& policy, selection const& chosen, bool during_bake) {
  std::vector<std::string> names;
  for (auto const& c : policy.checks)
    if (is_selected(chosen, c.name) && (c.during_bake || !during_bake)) names.push_back(in_quotes(c.name));
  return one_or_many("check", names);
}

// "metric 'errors' by prometheus"; at full weight without those that are compared with live.
std::string tell_metrics(operator_policy const& policy, hold_step const& hold) {
  std::vector<std::string> names;
  for (auto const& m : policy.metrics)
    if (is_selected(hold.metrics, m.name) && (!m.ratio || hold.at != full_weight))
      names.push_back(in_quotes(m.name) + " by " + std::string(to_string(m.source)));
  return one_or_many("metric", names);
}

std::string meanwhile(operator_policy const& policy, hold_step const& hold) {
  std::string checks = tell_checks(policy, hold.checks, true);
  std::string metrics = tell_metrics(policy, hold);
  std::string all = checks + (checks.empty() || metrics.empty() ? "" : ", ") + metrics;
  return all.empty() ? all : " (" + all + " meanwhile)";
}

std::string give(weight w) {
  if (w == full_weight) return "give it all traffic";
  return w == no_weight ? "give it no traffic yet" : "give it " + spell(w) + " of the traffic";
}

std::string tell_time(hold_step const& hold, operator_policy const& policy) {
  std::string time = hold.time ? " for " + spell(*hold.time) : " until somebody promotes it";
  return time + meanwhile(policy, hold);
}

// The steps of one plan, one after the other; `started` instances so far.
class teller {
 public:
  explicit teller(operator_policy const& policy) : policy_(policy) {}

  std::string tell(plan_step const& step) {
    return std::visit(
        overloaded{[](hook_step h) { return "run the " + std::string(to_string(h.at)) + " hook"; },
                   [&](start_step s) { return tell_start(s); },
                   [&](check_step const& c) { return tell_checks(policy_, c.checks, false) + " must pass"; },
                   [&](weight_step w) { return tell_weight(w.weight); },
                   [&](hold_step const& h) { return "watch it" + tell_time(h, policy_); },
                   [](stop_step s) { return "stop live down to " + instances_text(s.instances, ""); }},
        step);
  }

 private:
  std::string tell_start(start_step s) {
    std::uint32_t before = std::exchange(started_, s.instances);
    bool returns = before >= s.instances;
    return "start " + instances_text(returns ? s.instances : s.instances - before, before > 0 ? "more " : "");
  }

  // Rolling needs no steering: without it, who accepts takes what it can.
  std::string tell_weight(weight w) const {
    bool rolls = policy_.rollout.strategy == strategy::rolling && w != full_weight;
    return rolls ? "give it its share of the traffic, " + spell(w) + " where steered" : give(w);
  }

  operator_policy const& policy_;
  std::uint32_t started_ = 0;
};

// The hold right behind a weight, at that weight: for people they are one thing.
hold_step const* hold_at(plan const& steps, std::size_t position) {
  auto const* moves = std::get_if<weight_step>(&steps[position]);
  if (moves == nullptr || position + 1 == steps.size()) return nullptr;
  auto const* hold = std::get_if<hold_step>(&steps[position + 1]);
  return hold != nullptr && hold->at == moves->weight ? hold : nullptr;
}

// What an upgrade would have to wait for before it begins.
std::vector<std::string> tell_before(state const& s) {
  std::vector<std::string> said;
  if (s.rollout)
    said.push_back("wait for the end of rollout " + std::to_string(number(s.rollout->number)) +
                   ", which is at: " + stage_of(*s.rollout));
  if (auto const* warm = s.with_role(role::standby))
    said.push_back(generation_text(warm->number) + ", which stands by, drains first");
  else if (!has_room(s) && s.draining() > 0)
    said.push_back("wait until one of " + std::to_string(s.draining()) + " draining generations is gone");
  else if (!has_room(s))
    said.push_back("wait until the generation that loses is gone");
  return said;
}

std::vector<std::string> texts(std::vector<told_step> const& steps) {
  std::vector<std::string> all;
  for (auto const& step : steps) all.push_back(step.text);
  return all;
}

}  // namespace

std::vector<told_step> tell_plan(plan const& steps, operator_policy const& policy) {
  std::vector<told_step> said;
  teller words(policy);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    hold_step const* hold = hold_at(steps, i);
    std::string text = words.tell(steps[i]);
    bool bakes = hold != nullptr && hold->at == full_weight;
    if (bakes) text += " and watch it";
    if (hold != nullptr) text += tell_time(*hold, policy);
    said.push_back({std::move(text), i});
    if (hold != nullptr) ++i;
  }
  return said;
}

std::string tell_end(operator_policy const& policy, generation_policy const& of_old, std::string const& old) {
  auto const& how = policy.rollout;
  bool warm = how.strategy == strategy::blue_green && how.standby > duration::zero();
  std::string drains = "drains for at most " + spell(of_old.drain_timeout);
  return warm ? old + " stands by for " + spell(how.standby) + ", then " + drains : old + " " + drains;
}

std::vector<std::string> forecast(state const& s, operator_policy const& policy,
                                  generation_policy const& candidate) {
  generation const* live = s.with_role(role::live);
  auto instances = live == nullptr ? 0 : static_cast<std::uint32_t>(live->instances.size());
  std::vector<std::string> said = tell_before(s);
  std::ranges::move(texts(tell_plan(expand(policy, candidate, instances), policy)), std::back_inserter(said));
  if (live == nullptr) return said;
  std::string old = s.rollout ? "the generation that serves then" : generation_text(live->number);
  said.push_back(tell_end(policy, live->policy, old));
  return said;
}

std::vector<std::string> forecast(settings const& s) {
  auto policy = operator_policy_of(s);
  auto generation = generation_policy_of(s.service);
  auto said = texts(tell_plan(expand(policy, generation, generation.instances), policy));
  said.push_back(tell_end(policy, generation, "the old generation"));
  return said;
}

}  // namespace handoff
