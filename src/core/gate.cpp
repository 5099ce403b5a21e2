#include "gate.hpp"

#include <core/student.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace handoff {

namespace {

std::string text(double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", number);
  return buffer;
}

std::string whole(double count) {
  constexpr double most = 1e15;
  return count < most ? std::to_string(static_cast<std::uint64_t>(count)) : text(count);
}

std::string said(metric_policy const& m, measurement const& of) {
  if (m.kind != metric_kind::rate) return text(of.mean()) + " in " + whole(of.count()) + " samples";
  return text(100 * (of.count() > 0 ? of.failures() / of.count() : 0)) + " % of " + whole(of.count());
}

bool is_enough(metric_policy const& m, measurement const& of) { return of.count() >= m.least; }

// How likely it is by chance to be so far above what may be.
double likelihood(double distance, double variance, double freedom) {
  if (!(variance > 0)) return distance > 0 ? 0 : 1;
  return student_upper_tail(distance / std::sqrt(variance), freedom);
}

double likelihood_above(measurement const& candidate, double bound) {
  return likelihood(candidate.mean() - bound, candidate.variance(), candidate.freedom());
}

double likelihood_above(measurement const& candidate, measurement const& live, double times) {
  return likelihood(candidate.mean() - times * live.mean(),
                    candidate.variance() + times * times * live.variance(),
                    welch_freedom(candidate, live, times));
}

// What stands against as many counters as there have to be.
std::string why_no_counters(metric_reading const& r, std::size_t count, std::string const& expected) {
  if (r.size() != count) return "expected " + expected + ", it printed " + std::to_string(r.size());
  return std::ranges::any_of(r, [](double n) { return n < 0; }) ? "a counter is below 0" : "";
}

}  // namespace

std::string why_unusable(metric_kind kind, metric_reading const& r) {
  bool finite = std::ranges::all_of(r, [](double n) { return std::isfinite(n); });
  if (!finite) return "it printed what is no number";
  if (kind == metric_kind::value) return r.empty() ? "it printed no number" : "";
  if (kind == metric_kind::mean) return why_no_counters(r, 2, "two numbers, a sum and of how many");
  if (kind == metric_kind::flow) return why_no_counters(r, 1, "one number");
  if (r.size() != 2) return "expected two numbers, failures and all, it printed " + std::to_string(r.size());
  bool possible = 0 <= r[0] && r[0] <= r[1];
  return possible ? "" : "expected failures from 0 to all, it printed " + text(r[0]) + " of " + text(r[1]);
}

// What was counted before the step began is not its own. Counters that fell began anew.
std::optional<metric_reading> measurement::growth(metric_reading const& counters) {
  auto before = std::exchange(known_.counters, counters);
  if (!before) return {};
  bool restarted = counters[0] < (*before)[0] || counters[1] < (*before)[1];
  if (restarted) return counters;
  return metric_reading{counters[0] - (*before)[0], counters[1] - (*before)[1]};
}

void measurement::add_sample(double sample) {
  ++known_.count;
  double distance = sample - known_.mean;
  known_.mean += distance / known_.count;
  known_.squares += distance * (sample - known_.mean);
}

void measurement::add(metric_kind kind, metric_reading const& r) {
  known_.is_rate = kind == metric_kind::rate;
  if (kind == metric_kind::value) {
    for (double sample : r) add_sample(sample);
    return;
  }
  auto grown = growth(r);
  if (!grown) return;
  if (known_.is_rate) {
    known_.failures += (*grown)[0];
    known_.count += (*grown)[1];
  } else if ((*grown)[1] > 0) {
    add_sample((*grown)[0] / (*grown)[1]);
  }
}

// Between two looks with another part of the traffic nobody knows which part made it grow.
void measurement::add_flow(double counter, instant then, weight of) {
  auto before = std::exchange(known_.flow, flow_look{counter, then, of});
  bool comparable = before && before->of == of && of != no_weight && before->then < then;
  if (!comparable || counter < before->counter) return;
  double seconds = static_cast<double>((then - before->then).count()) / 1000;
  double percent = static_cast<double>(number(of)) / 100;
  add_sample((counter - before->counter) / seconds / percent);
}

// Of a rate with one success and one failure more (Agresti and Caffo 2000): without them a rate of 0 would
// have no variance, and every first failure would be significant.
double measurement::mean() const {
  return known_.is_rate ? (known_.failures + 1) / (known_.count + 2) : known_.mean;
}

double measurement::variance() const {
  if (known_.is_rate) return mean() * (1 - mean()) / (known_.count + 2);
  return known_.count > 1 ? known_.squares / (known_.count - 1) / known_.count : 0;
}

double measurement::freedom() const { return known_.is_rate ? INFINITY : known_.count - 1; }

judged judge(metric_policy const& m, measurement const& candidate, measurement const& live,
             std::uint32_t chances) {
  std::string what = said(m, candidate) + (m.ratio ? ", live: " + said(m, live) : "");
  if (!is_enough(m, candidate) || (m.ratio && !is_enough(m, live)))
    return {judgement::inconclusive, what + ", at least " + std::to_string(m.least) + " are needed"};
  double unlikely = (1 - m.confidence) / std::max(chances, 1U);
  if (m.max && likelihood_above(candidate, *m.max) < unlikely)
    return {judgement::fail, what + ", at most " + text(m.kind == metric_kind::rate ? 100 * *m.max : *m.max) +
                                 (m.kind == metric_kind::rate ? " %" : "") + " may be"};
  if (m.ratio && likelihood_above(candidate, live, *m.ratio) < unlikely)
    return {judgement::fail,
            what + (*m.ratio == 1 ? "" : ", at most " + text(*m.ratio) + " times that may be")};
  return {judgement::pass, what};
}

}  // namespace handoff
