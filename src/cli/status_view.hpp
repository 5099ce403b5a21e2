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

// All that one supervisor tells.
std::vector<std::string> details(supervisor const&, json const& status, stream const& to);

}  // namespace handoff::cli
