// What tests of the metrics gate measured.
#pragma once

#include <core/gate.hpp>

namespace handoff::test {

inline measurement rate(double failures, double all) {
  measurement m;
  m.add(metric_kind::rate, {0, 0});
  m.add(metric_kind::rate, {failures, all});
  return m;
}

inline measurement samples(double mean, double deviation, int count) {
  measurement m;
  for (int n = 0; n < count; ++n) m.add(metric_kind::value, {mean + (n % 2 == 0 ? deviation : -deviation)});
  return m;
}

}  // namespace handoff::test
