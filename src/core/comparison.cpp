#include "comparison.hpp"

#include <core/student.hpp>

#include <algorithm>
#include <cmath>

namespace handoff {

namespace {

constexpr double outside = 0.05;  // of the interval that is told

double plain_mean(metric_kind kind, measurement const& of) {
  return kind == metric_kind::rate ? of.failures() / of.count() : of.mean();
}

}  // namespace

std::optional<comparison> compare(metric_policy const& m, measurement const& candidate,
                                  measurement const& live) {
  double least = std::max<double>(m.least, m.kind == metric_kind::rate ? 1 : 2);
  if (candidate.count() < least || live.count() < least) return {};
  comparison found{.difference = plain_mean(m.kind, candidate) - plain_mean(m.kind, live)};
  double middle = candidate.mean() - live.mean();
  double error = std::sqrt(candidate.variance() + live.variance());
  double degrees = welch_freedom(candidate, live);
  double width = error > 0 ? error * student_quantile(outside / 2, degrees) : 0;
  double most = m.kind == metric_kind::rate ? 1 : INFINITY;
  found.low = std::clamp(middle - width, -most, most);
  found.high = std::clamp(middle + width, -most, most);
  found.chance = error > 0 ? 2 * student_upper_tail(std::abs(middle) / error, degrees) : middle == 0 ? 1 : 0;
  found.significant = found.chance < 1 - m.confidence;
  return found;
}

}  // namespace handoff
