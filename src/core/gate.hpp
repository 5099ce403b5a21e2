// Whether a candidate does worse than it may: statistics over what a metric said while a step holds.
#pragma once

#include <core/policy.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// What one run of a metric printed. Of a rate: two counters that only grow, failures and all. Of a value:
// samples.
using metric_reading = std::vector<double>;

// Empty when a reading has the form that its kind needs, else what is wrong with it.
std::string why_unusable(metric_kind, metric_reading const&);

// Everything that was read of one generation since the step began to hold.
class measurement {
 public:
  void add(metric_kind, metric_reading const&);  // that is usable

  double count() const { return count_; }        // of all, or of the samples
  double failures() const { return failures_; }  // rate
  double mean() const;                           // value; of a rate the part that failed
  double variance() const;                       // of the mean

 private:
  void add_counters(double failures, double all);

  double count_ = 0;
  double failures_ = 0;
  double mean_ = 0;
  double squares_ = 0;  // of the samples' distances from their mean, summed (Welford)
  bool is_rate_ = false;
  std::optional<metric_reading> counters_;  // as read last
};

enum class judgement { pass, fail, inconclusive };

struct judged {
  judgement is = judgement::inconclusive;
  std::string why;  // "5.2 % of 400, live: 0.1 % of 7600"
};

// `looks` is how often it is judged while a step holds: the more often, the surer each "fail" has to be
// (Bonferroni), so that a candidate that equals live fails no more often than the confidence says.
judged judge(metric_policy const&, measurement const& candidate, measurement const& live,
             std::uint32_t looks);

}  // namespace handoff
