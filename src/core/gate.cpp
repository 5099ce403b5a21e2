#include "gate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace handoff {

namespace {

// The chance that a standard normal variable is above z.
double upper_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

std::string text(double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", number);
  return buffer;
}

std::string said(metric_policy const& m, measurement const& of) {
  if (m.kind == metric_kind::value) return text(of.mean()) + " in " + text(of.count()) + " samples";
  return text(100 * (of.count() > 0 ? of.failures() / of.count() : 0)) + " % of " + text(of.count());
}

bool is_enough(metric_policy const& m, measurement const& of) { return of.count() >= m.least; }

// How many standard errors the candidate is above `times` what live has.
double above_live(measurement const& candidate, measurement const& live, double times) {
  double error = std::sqrt(candidate.variance() + times * times * live.variance());
  double distance = candidate.mean() - times * live.mean();
  if (error > 0) return distance / error;
  return distance > 0 ? INFINITY : 0;
}

double above_bound(measurement const& candidate, double bound) {
  double error = std::sqrt(candidate.variance());
  double distance = candidate.mean() - bound;
  if (error > 0) return distance / error;
  return distance > 0 ? INFINITY : 0;
}

}  // namespace

std::string why_unusable(metric_kind kind, metric_reading const& r) {
  bool finite = std::ranges::all_of(r, [](double n) { return std::isfinite(n); });
  if (!finite) return "it printed what is no number";
  if (kind == metric_kind::value) return r.empty() ? "it printed no number" : "";
  if (r.size() != 2) return "expected two numbers, failures and all, it printed " + std::to_string(r.size());
  bool possible = 0 <= r[0] && r[0] <= r[1];
  return possible ? "" : "expected failures from 0 to all, it printed " + text(r[0]) + " of " + text(r[1]);
}

void measurement::add_counters(double failures, double all) {
  metric_reading now{failures, all};
  // What was counted before the step began is not its own. A counter that fell began anew.
  if (counters_) {
    bool restarted = all < (*counters_)[1] || failures < (*counters_)[0];
    failures_ += restarted ? failures : failures - (*counters_)[0];
    count_ += restarted ? all : all - (*counters_)[1];
  }
  counters_ = std::move(now);
}

void measurement::add(metric_kind kind, metric_reading const& r) {
  is_rate_ = kind == metric_kind::rate;
  if (is_rate_) return add_counters(r[0], r[1]);
  for (double sample : r) {
    ++count_;
    double distance = sample - mean_;
    mean_ += distance / count_;
    squares_ += distance * (sample - mean_);
  }
}

// Of a rate with one success and one failure more (Agresti and Caffo 2000): without them a rate of 0 would
// have no variance, and every first failure would be significant.
double measurement::mean() const { return is_rate_ ? (failures_ + 1) / (count_ + 2) : mean_; }

double measurement::variance() const {
  if (is_rate_) return mean() * (1 - mean()) / (count_ + 2);
  return count_ > 1 ? squares_ / (count_ - 1) / count_ : 0;
}

judged judge(metric_policy const& m, measurement const& candidate, measurement const& live,
             std::uint32_t looks) {
  std::string what = said(m, candidate) + (m.ratio ? ", live: " + said(m, live) : "");
  if (!is_enough(m, candidate) || (m.ratio && !is_enough(m, live)))
    return {judgement::inconclusive, what + ", at least " + std::to_string(m.least) + " are needed"};
  double unlikely = (1 - m.confidence) / std::max(looks, 1U);
  if (m.max && upper_tail(above_bound(candidate, *m.max)) < unlikely)
    return {judgement::fail, what + ", at most " + text(m.kind == metric_kind::rate ? 100 * *m.max : *m.max) +
                                 (m.kind == metric_kind::rate ? " %" : "") + " may be"};
  if (m.ratio && upper_tail(above_live(candidate, live, *m.ratio)) < unlikely)
    return {judgement::fail,
            what + (*m.ratio == 1 ? "" : ", at most " + text(*m.ratio) + " times that may be")};
  return {judgement::pass, what};
}

}  // namespace handoff
