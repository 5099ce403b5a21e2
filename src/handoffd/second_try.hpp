// What a supervisor that was become by exec(2) needs to try that again: when it is short of something for a
// moment, there is no predecessor any more that could go on instead.
#pragma once

#include <base/unique_fd.hpp>

#include <span>
#include <utility>
#include <vector>

namespace handoff {

// In the environment: the number of the descriptor with the snapshot.
constexpr char const* snapshot_variable = "HANDOFF_SNAPSHOT";

class second_try {
 public:
  second_try() = default;

  // Keeps copies of what was `passed`. Where they would take more than a quarter of all descriptors, or there
  // is no room for them, there is no second try.
  second_try(unique_fd snapshot, std::span<int const> passed);

  bool is_possible() const { return !copies_.empty(); }

  // A little later, becomes ourselves anew with all that was passed in its place. Returns when that is
  // impossible, or has been tried for ten seconds.
  void begin(char** arguments);

 private:
  int tries_ = 0;
  unique_fd snapshot_;
  std::vector<std::pair<int, unique_fd>> copies_;  // by the number that it had
};

}  // namespace handoff
