#include "comparison.hpp"

#include <algorithm>
#include <cmath>

namespace handoff {

namespace {

constexpr double outside = 0.05;  // of the interval that is told
constexpr double many = 1000;     // degrees of freedom: from there on Student's t is as good as normal

// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method.
double beta_fraction(double a, double b, double x) {
  constexpr int most_terms = 300;
  constexpr double tiny = 1e-300, precise = 1e-14;
  auto no_zero = [](double d) { return std::abs(d) < tiny ? tiny : d; };
  double c = 1, d = 1 / no_zero(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m <= most_terms; ++m) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (double term : {even, odd}) {
      d = 1 / no_zero(1 + term * d);
      c = no_zero(1 + term / c);
      fraction *= change = d * c;
    }
    if (std::abs(change - 1) < precise) break;
  }
  return fraction;
}

// The regularised incomplete beta function.
double beta_part(double a, double b, double x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  // The fraction converges fast only below the mean.
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

// The t that is exceeded with that chance, below a half.
double student_quantile(double above, double degrees) {
  double low = 0, high = 1;
  while (student_upper_tail(high, degrees) > above && high < 1e9) high *= 2;
  for (int i = 0; i < 100; ++i) {
    double middle = (low + high) / 2;
    (student_upper_tail(middle, degrees) > above ? low : high) = middle;
  }
  return high;
}

// Welch's degrees of freedom: of means whose variances differ.
double degrees_of_freedom(measurement const& a, measurement const& b) {
  double sum = a.variance() + b.variance();
  double parts =
      a.variance() * a.variance() / (a.count() - 1) + b.variance() * b.variance() / (b.count() - 1);
  return parts > 0 ? sum * sum / parts : a.count() + b.count() - 2;
}

double plain_mean(metric_kind kind, measurement const& of) {
  return kind == metric_kind::rate ? of.failures() / of.count() : of.mean();
}

}  // namespace

double student_upper_tail(double t, double degrees) {
  if (degrees > many) return std::erfc(t / std::sqrt(2.0)) / 2;
  return beta_part(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2;
}

std::optional<comparison> compare(metric_policy const& m, measurement const& candidate,
                                  measurement const& live) {
  double least = std::max<double>(m.least, m.kind == metric_kind::value ? 2 : 1);
  if (candidate.count() < least || live.count() < least) return {};
  comparison found{.difference = plain_mean(m.kind, candidate) - plain_mean(m.kind, live)};
  double middle = candidate.mean() - live.mean();
  double error = std::sqrt(candidate.variance() + live.variance());
  double degrees = m.kind == metric_kind::rate ? INFINITY : degrees_of_freedom(candidate, live);
  double width = error > 0 ? error * student_quantile(outside / 2, degrees) : 0;
  double most = m.kind == metric_kind::rate ? 1 : INFINITY;
  found.low = std::clamp(middle - width, -most, most);
  found.high = std::clamp(middle + width, -most, most);
  found.chance = error > 0 ? 2 * student_upper_tail(std::abs(middle) / error, degrees) : middle == 0 ? 1 : 0;
  found.significant = found.chance < 1 - m.confidence;
  return found;
}

}  // namespace handoff
