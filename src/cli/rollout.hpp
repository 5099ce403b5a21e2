// Starting a rollout and following it to its end, without missing anything: whoever asks is watching already.
#pragma once

#include <cli/supervisors.hpp>

#include <functional>
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

// What following came to.
struct followed {
  std::int64_t rollout = 0;
  std::optional<std::int64_t> generation;
  std::string_view reached;  // "serving", "holding", "promoted", "drained" or "failed"
  json told;                 // of "holding" the event, of "failed" the verdict's event, or its history entry
};

struct rollout_request {
  std::string method;  // one that answers with the number of the rollout
  json parameters = json::object();
  goal until = goal::asked;
  std::optional<duration> timeout;
  bool as_json = false;
  // Tells it in its own words; nothing to have it told as that of an upgrade.
  std::function<std::optional<ending>(followed const&)> then;
};

ending run_rollout(supervisor const&, rollout_request const&);

}  // namespace handoff::cli
