// What happened in `handoff demo --canary`: three releases, their parts of the traffic, what they answered.
#pragma once

#include <core/ids.hpp>
#include <load/tally.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace handoff::cli {

// The first serves, the second answers errors, the third is good. They are generations 1, 2 and 3.
constexpr unsigned first_version = 1, bad_version = 2, good_version = 3;
constexpr unsigned bad_fails_every = 12;

struct release {
  unsigned version = 0;
  weight now = no_weight;                 // of new connections
  weight most = no_weight;                // ever
  std::uint64_t answered = 0;             // requests, errors included
  std::uint64_t errors = 0;               // of them
  double a_second = 0;                    // answered, of late
  std::optional<std::int64_t> tried_ns;   // when its first traffic was for it
  std::optional<std::int64_t> judged_ns;  // when its rollout ended
  weight judged_at = no_weight;           // the part it had then
  std::string verdict;                    // as the supervisor tells it; empty before
  std::string reason;

  // Requests that were answered while its weight was the highest: by it, and by all.
  std::uint64_t own_at_most = 0, all_at_most = 0;

  double measured_at_most() const;  // the part of them that is its own, in percent
  double seconds_tried() const;     // from its first traffic to the end of its rollout
};

class canary_story {
 public:
  canary_story();

  // The candidate gets `part`, `live` the rest. Counters should be up to date.
  void split(unsigned candidate, weight part, unsigned live, std::int64_t at_ns);
  // A rollout ended.
  void judged(unsigned version, std::string verdict, std::string reason, std::int64_t at_ns);
  // Nothing is counted from now on.
  void end();
  // Brings the counters up to date.
  void count(load::report const&);

  std::array<release, 3> const& releases() const { return releases_; }
  release const& of(unsigned version) const { return releases_.at(version - 1); }
  load::counters const& counts() const { return counts_; }

  // Failures that are not the bad release's own answers: refused, reset, cut short, late, strange.
  std::uint64_t failed_otherwise() const;
  // Its errors were the reason: not that too little was counted, or that it crashed.
  bool bad_was_caught() const;
  bool good_was_promoted() const;
  bool went_well() const { return bad_was_caught() && good_was_promoted() && failed_otherwise() == 0; }

 private:
  struct answers {
    std::array<std::uint64_t, 3> of{};
    std::uint64_t all() const { return of[0] + of[1] + of[2]; }
  };
  answers answers_now() const;
  void credit_split();
  void measure_rates(std::int64_t at_ns);

  std::array<release, 3> releases_;
  load::counters counts_;
  answers at_split_;  // when the present split began
  answers at_rate_;   // when the rates were measured last
  std::int64_t rate_ns_ = 0;
};

}  // namespace handoff::cli
