// The crash budget and the backoff, as functions of history.
#pragma once

#include <core/settings.hpp>

#include <vector>

namespace handoff {

// How long to wait before the restart that follows the n-th failure in a row (n from 1): doubling from
// backoff_min to backoff_max.
duration backoff(restart_settings const&, std::uint32_t failures_in_a_row);

// The crashes of one generation, only as far back as the budget looks.
class crash_history {
 public:
  crash_history() = default;
  explicit crash_history(std::vector<instant> recent) : crashes_(std::move(recent)) {}

  void add(instant when, restart_settings const&);

  // Whether the budget is used up: `burst` crashes within `window` before `now`.
  bool exhausted(instant now, restart_settings const&) const;

  // When the newest crash leaves the window; the past when there was none.
  instant calm_at(restart_settings const&) const;

  std::vector<instant> const& recent() const { return crashes_; }
  bool operator==(crash_history const&) const = default;

 private:
  std::vector<instant> crashes_;  // oldest first, at most `burst`
};

}  // namespace handoff
