// How much two sides of an experiment differ, as far as what was measured of them tells.
#pragma once

#include <core/gate.hpp>

#include <optional>

namespace handoff {

// Differences are the candidate's mean less live's: of a rate parts of 1, of a value its unit.
struct comparison {
  double difference = 0;
  double low = 0, high = 0;  // where the true difference is, with 95 % confidence
  double chance = 1;         // that sides which do not differ would seem to, so much or more: two-sided
  bool significant = false;  // at the metric's confidence, for a single look
};

// Proportions by Agresti and Caffo (2000), means by Welch (1947). Nothing while one side has less than the
// metric's least count, or values of which a single one is no spread.
std::optional<comparison> compare(metric_policy const&, measurement const& candidate,
                                  measurement const& live);

}  // namespace handoff
