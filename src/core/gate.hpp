// Whether a candidate does worse than it may: statistics over what a metric said while a step holds.
#pragma once

#include <core/policy.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// What one look at a metric found. Of a rate: two counters that only grow, failures and all. Of a value:
// samples. Of a mean: two counters, the sum and of how many. Of a flow: one counter.
using metric_reading = std::vector<double>;

// Empty when a reading has the form that its kind needs, else what is wrong with it.
std::string why_unusable(metric_kind, metric_reading const&);

struct flow_look {
  double counter = 0;
  instant then{};
  weight of{};
};

// Everything that was read of one generation since the step began to hold.
class measurement {
 public:
  // All that it remembers, for a successor of ours to go on with.
  struct memory {
    double count = 0;
    double failures = 0;
    double mean = 0;
    double squares = 0;  // of the samples' distances from their mean, summed (Welford)
    bool is_rate = false;
    std::optional<metric_reading> counters;  // as read last
    std::optional<flow_look> flow;           // the last one
  };
  measurement() = default;
  explicit measurement(memory m) : known_(std::move(m)) {}
  memory const& known() const { return known_; }

  void add(metric_kind, metric_reading const&);  // that is usable, and of no flow
  // The counter of a flow, as it was then, while the generation had this part of the traffic.
  void add_flow(double counter, instant then, weight);

  double count() const { return known_.count; }        // of all, or of the samples
  double failures() const { return known_.failures; }  // rate
  double mean() const;                                 // value; of a rate the part that failed
  double variance() const;                             // of the mean
  double freedom() const;  // how many distances the variance is known from, less one

 private:
  std::optional<metric_reading> growth(metric_reading const& counters);
  void add_sample(double);

  memory known_;
};

enum class judgement { pass, fail, inconclusive };

struct judged {
  judgement is = judgement::inconclusive;
  std::string why;  // "5.2 % of 400, live: 0.1 % of 7600"
};

// `chances` is how often a candidate that equals live could be called worse while a step holds: by each look
// at each metric. The more there are, the surer each "fail" has to be (Bonferroni), so that it happens in a
// step no more often than the confidence says.
judged judge(metric_policy const&, measurement const& candidate, measurement const& live,
             std::uint32_t chances);

}  // namespace handoff
