// Rollouts that ended, with their verdicts: what `handoff history` tells, across restarts of the supervisor.
// The text of it is lines of JSON, one appended for each thing that happens: a rollout is told when it is
// asked for, as one that the death of the supervisor ended, and again when it ended. A later line replaces an
// earlier one of the same number, so at each moment the text is true for whoever reads it, should nothing
// follow.
#pragma once

#include <core/ids.hpp>
#include <core/verdict.hpp>

#include <deque>
#include <optional>
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
  // Bytes of one entry, as JSON: all entries fit into one reply of the control interface.
  static constexpr std::size_t output_bytes = 4096;
  static constexpr std::size_t reason_bytes = 1024;  // before quotes are escaped

  // From the text of a file; a line that is none (a crash cut it) is left out.
  static history read(std::string_view text);
  // The entries, and a line for each rollout under way.
  std::string to_text() const;

  // Each returns the line to append. `begin` is for a rollout that was asked for; nothing when it is known.
  std::optional<std::string> begin(rollout_number, std::string cause, std::string now);
  // A rollout that goes on after all, as the one that a predecessor began.
  void go_on(rollout_number);
  // Whether nothing but its beginning is known.
  bool is_open(rollout_number) const;
  // What is too long is cut: the newest lines of the output stay.
  std::string end(ended_rollout);

  std::deque<ended_rollout> const& all() const { return ended_; }  // oldest first
  ended_rollout const* last() const { return ended_.empty() ? nullptr : &ended_.back(); }
  rollout_number last_number() const;  // of those that ended; 0 when there is none

 private:
  void add(ended_rollout);

  std::deque<ended_rollout> ended_;
  std::vector<ended_rollout>
      under_way_;  // one, and the one that waits for it, as they are told until they end
};

}  // namespace handoff
