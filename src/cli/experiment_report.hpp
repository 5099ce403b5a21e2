// How the variants of an experiment compare, from what a supervisor told about itself.
#pragma once

#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>

#include <optional>
#include <string>
#include <vector>

namespace handoff::cli {

// The experiment under way as one value: "service", "rollout", "age_ms", "variants" (the first is live) and
// "metrics"; or why there is none.
outcome<json> experiment_report(supervisor const&, json const& status);

// Tables of it, as people read them.
std::vector<std::string> report_lines(json const& report, stream const& to);

// The variant that a generation is in the experiment under way; empty when it is none.
std::string variant_of(json const& status, std::int64_t generation);

}  // namespace handoff::cli
