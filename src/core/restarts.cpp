#include "restarts.hpp"

#include <algorithm>

namespace handoff {

duration backoff(restart_settings const& policy, std::uint32_t failures_in_a_row) {
  duration wait = policy.backoff_min;
  for (std::uint32_t n = 1; n < failures_in_a_row && wait < policy.backoff_max; ++n) wait *= 2;
  return std::min(wait, policy.backoff_max);
}

void crash_history::add(instant when, restart_settings const& policy) {
  std::erase_if(crashes_, [&](instant past) { return past + policy.window <= when; });
  if (crashes_.size() >= policy.burst) crashes_.erase(crashes_.begin());
  crashes_.push_back(when);
}

bool crash_history::exhausted(instant now, restart_settings const& policy) const {
  auto recent = std::ranges::count_if(crashes_, [&](instant past) { return past + policy.window > now; });
  return static_cast<std::uint32_t>(recent) >= policy.burst;
}

instant crash_history::calm_at(restart_settings const& policy) const {
  return crashes_.empty() ? instant{} : crashes_.back() + policy.window;
}

}  // namespace handoff
