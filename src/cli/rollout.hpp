// Starting a rollout and following it to its end, without missing anything: whoever asks is watching already.
#pragma once

#include <cli/supervisors.hpp>

#include <optional>
#include <string>

namespace handoff::cli {

// How far to follow a rollout.
enum class goal {
  asked,     // not at all
  serving,   // the new generation has the traffic
  promoted,  // the verdict
  drained,   // the verdict, and nothing is left of the generation before
};

struct rollout_request {
  std::string method;  // "Upgrade" or "Rollback"
  goal until = goal::asked;
  std::optional<duration> timeout;
  bool json = false;
};

ending run_rollout(supervisor const&, rollout_request const&);

}  // namespace handoff::cli
