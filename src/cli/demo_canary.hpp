// handoff demo --canary: a release that answers errors is caught and rolled back, a good one is promoted.
#pragma once

#include <cli/command.hpp>

namespace handoff::cli {

struct canary_request {
  unsigned clients = 16;
  duration hold{6000};  // of each step
  bool json = false;
};

ending demonstrate_canary(canary_request const&);

}  // namespace handoff::cli
