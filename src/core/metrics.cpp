// The metrics gate: what is measured while a step holds, and what follows from it.
#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

// How often a metric is judged while the step holds, at most: in its time, and in as much again that it may
// get to be decided. One without end counts as an hour.
std::int64_t looks(rollout const& r, metric_policy const& m) {
  auto const* step = std::get_if<hold_step>(&r.plan[r.position]);
  duration span = step != nullptr && step->time ? 2 * *step->time : std::chrono::hours(1);
  return std::max<std::int64_t>(span / m.interval, 1);
}

// How often a good candidate could be called worse in this step: by each look at each metric that decides,
// and by both bounds of one that has two.
std::uint32_t chances(rollout const& r, metric_policy const& judged) {
  constexpr std::int64_t most = 1'000'000'000;
  std::int64_t bounds = 0;
  for (std::size_t n = 0; n < r.metrics.size(); ++n)
    if (is_measured(r, n))
      bounds += r.policy.metrics[n].max.has_value() + r.policy.metrics[n].ratio.has_value();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(looks(r, judged) * bounds, 1, most));
}

// The part of the traffic that a side of the rollout has.
weight weight_of(rollout const& r, bool candidate) {
  weight part = r.weight.value_or(no_weight);
  return candidate ? part : weight{number(full_weight) - number(part)};
}

command_number measure(turn& t, rollout const& r, std::size_t metric, generation_number g) {
  return run(t, {.what = command::purpose::metric, .metric = metric, .generation = g, .rollout = r.number},
             r.policy.metrics[metric].timeout);
}

std::string named(metric_policy const& m, std::string const& what) {
  return "metric '" + m.name + "': " + what;
}

// Both sides were read: the verdict of this look.
void look(turn& t, rollout& r, std::size_t n) {
  auto& progress = r.metrics[n];
  auto const& policy = r.policy.metrics[n];
  progress.next_run = t.now + policy.interval;
  if (!progress.trouble.empty()) {
    progress.last = {judgement::inconclusive, std::exchange(progress.trouble, {})};
    return;
  }
  progress.last = judge(policy, progress.candidate, progress.live, chances(r, policy));
  bool decides = !r.gate_skipped;  // else somebody has promoted it, and it leaves the step when it can
  if (progress.last.is == judgement::fail && decides) roll_back(t, named(policy, progress.last.why));
}

}  // namespace

void begin_measuring(turn& t, rollout& r) {
  r.metrics.assign(r.policy.metrics.size(), {});
  for (auto& m : r.metrics) m.next_run = t.now;
}

void run_due_metrics(turn& t) {
  if (!t.s.rollout || !is_holding(*t.s.rollout)) return;
  rollout& r = *t.s.rollout;
  generation const* live = t.s.with_role(role::live);
  for (std::size_t n = 0; n < r.metrics.size(); ++n) {
    auto& progress = r.metrics[n];
    auto const& policy = r.policy.metrics[n];
    if (!is_measured(r, n) || progress.is_running() || progress.next_run > t.now) continue;
    progress.of_candidate = measure(t, r, n, r.candidate);
    // Those who compare want both sides, also of what has a bound of its own, or none.
    if ((policy.ratio || r.is_experiment) && live != nullptr)
      progress.of_live = measure(t, r, n, live->number);
  }
}

void end_of_metric(turn& t, command const& c, std::optional<std::string> const& failure,
                   metric_reading const& numbers) {
  if (!t.s.rollout || c.metric >= t.s.rollout->metrics.size()) return;
  rollout& r = *t.s.rollout;
  auto& progress = r.metrics[c.metric];
  auto kind = r.policy.metrics[c.metric].kind;
  bool mine = c.number == progress.of_candidate;
  (mine ? progress.of_candidate : progress.of_live) = {};
  std::string trouble = failure ? *failure : why_unusable(kind, numbers);
  measurement& side = mine ? progress.candidate : progress.live;
  bool decides = mine || r.policy.metrics[c.metric].ratio;
  if (!decides) progress.unread = trouble;
  if (trouble.empty() && kind == metric_kind::flow)
    side.add_flow(numbers[0], t.now, weight_of(r, mine));
  else if (trouble.empty())
    side.add(kind, numbers);
  else if (decides)
    progress.trouble = (mine ? "of the candidate: " : "of live: ") + trouble;
  if (!progress.is_running()) look(t, r, c.metric);
}

std::optional<std::string> open_question(rollout const& r) {
  for (std::size_t n = 0; n < r.metrics.size(); ++n) {
    auto const& last = r.metrics[n].last;
    if (!is_asked(r, n) || last.is == judgement::pass) continue;
    std::string why = last.why.empty() ? "nothing was measured yet" : last.why;
    if (!is_measured(r, n)) why += "; at 100 % there is no live to compare with";
    return named(r.policy.metrics[n], why);
  }
  return {};
}

void cancel_metrics(turn& t, rollout const& r) {
  for (auto const& m : r.metrics) {
    cancel(t, m.of_candidate);
    cancel(t, m.of_live);
  }
}

}  // namespace handoff
