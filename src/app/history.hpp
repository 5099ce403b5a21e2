// Rollouts that ended, with their verdicts: what `handoff history` tells, across restarts of the supervisor.
#pragma once

#include <core/ids.hpp>
#include <core/verdict.hpp>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

struct ended_rollout {
  rollout_number number{};
  generation_number generation{};
  std::string cause;
  handoff::verdict verdict;
  std::string stage;
  std::string started;  // RFC 3339, UTC
  double seconds = 0;
  std::vector<std::string> output;  // the last lines of the candidate

  bool operator==(ended_rollout const&) const = default;
};

class history {
 public:
  static constexpr std::size_t kept = 100;

  // From the text of a file of to_line()s; a line that is none (a crash cut it) is left out.
  static history read(std::string_view text);
  std::string to_text() const;

  void add(ended_rollout);

  std::deque<ended_rollout> const& all() const { return ended_; }  // oldest first
  ended_rollout const* last() const { return ended_.empty() ? nullptr : &ended_.back(); }

 private:
  std::deque<ended_rollout> ended_;
};

// One line of JSON, with its end.
std::string to_line(ended_rollout const&);

}  // namespace handoff
