// handoff upgrade --outdated: upgrades the services that do not run what is on disk.
#pragma once

#include <cli/rollout.hpp>

#include <string>
#include <vector>

namespace handoff::cli {

constexpr unsigned most_jobs = 64;

struct outdated_request {
  std::vector<std::string> names;  // only these; all that run when empty
  unsigned jobs = 1;               // rollouts at a time, from 1 to most_jobs
  bool dry_run = false;            // only tell
  rollout_request how;
};

// The gravest of what happened: failed, gave_up, refused (also when something could not be looked at),
// absent, done.
ending upgrade_outdated(outdated_request const&);

}  // namespace handoff::cli
