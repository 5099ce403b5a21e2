// What `handoff demo --canary` shows: a line for each stage, on a terminal with a picture below that is drawn
// again and again, and at the end a table and what follows from it.
#pragma once

#include <cli/demo_canary_story.hpp>
#include <cli/terminal.hpp>
#include <cli/told.hpp>

#include <string>
#include <vector>

namespace handoff::cli {

// One row a release: its part of the traffic as a bar, what it answered. `doing` is what goes on.
std::vector<std::string> canary_picture(canary_story const&, std::string const& doing, stream const& to);

std::vector<std::string> canary_table(canary_story const&, stream const& to);

// Sentences that the measurements prove; where something did not happen, they say what did.
std::vector<std::string> canary_conclusions(canary_story const&);

// One record a release, and one of the whole.
std::vector<json> canary_records(canary_story const&);

}  // namespace handoff::cli
