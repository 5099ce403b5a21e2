#include "student.hpp"

#include <cmath>

namespace handoff {

namespace {

constexpr double many = 1000;  // degrees of freedom: from there on Student's t is as good as normal

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

}  // namespace

double student_upper_tail(double t, double degrees) {
  if (degrees > many) return std::erfc(t / std::sqrt(2.0)) / 2;
  double both = beta_part(degrees / 2, 0.5, degrees / (degrees + t * t));
  return t < 0 ? 1 - both / 2 : both / 2;
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

double welch_freedom(measurement const& a, measurement const& b, double times) {
  double mine = a.variance(), theirs = times * times * b.variance();
  auto part = [](double variance, double freedom) { return freedom > 0 ? variance * variance / freedom : 0; };
  return (mine + theirs) * (mine + theirs) / (part(mine, a.freedom()) + part(theirs, b.freedom()));
}

}  // namespace handoff
