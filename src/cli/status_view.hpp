// What a supervisor says of itself, as people read it.
#pragma once

#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>

#include <string>
#include <vector>

namespace handoff::cli {

// A supervisor and what it answered to Status.
struct asked_status {
  supervisor of;
  outcome<json> told;
};

// One row a supervisor.
std::vector<std::string> overview(std::vector<asked_status> const&, stream const& to);

// "generation 3 serves", or "nothing serves".
std::string who_serves(json const& status);

// A line for each metric that decides about the step under way: what it says of the candidate, and why.
std::vector<std::string> gate_of(json const& rollout, stream const& to);

// "web: serving - generation 8 serves".
std::string headline(supervisor const&, json const& status, stream const& to);

// What a supervisor or a rollout waits for, and how long at most; empty for nothing.
std::string waiting(json const& of);

// Where a rollout is and what it waits for: "holding at 5 %, waits for …, for at most 2 min"; empty for none.
std::string whereabouts(json const& rollout);

// How a rollout ended: "promoted", "rolled back: exited 1 before ready".
std::string verdict_of(json const& ended);

// All that one supervisor tells.
std::vector<std::string> details(supervisor const&, json const& status, stream const& to);

}  // namespace handoff::cli
