// What happened, in words: one sentence for each fact, the same for the log, the watchers and systemd.
#pragma once

#include <core/action.hpp>
#include <core/state.hpp>

#include <functional>
#include <string>

namespace handoff {

// The name of a listener, by its number in facts.
using listener_names = std::function<std::string(std::size_t)>;

std::string tell(fact const&, state const&, listener_names const&);

std::string generation_text(generation_number);  // "generation 7"

// One line on how the service is: "generation 8 serves", "generation 8 starts beside 7".
std::string summarize(state const&);

// What the supervisor waits for, if it does, and until when.
struct waiting {
  std::string what;
  std::optional<instant> until;
};
std::optional<waiting> waits_for(state const&);

enum class service_state { starting, serving, upgrading, degraded, stopping };
service_state overall(state const&);
std::string_view to_string(service_state);

}  // namespace handoff
