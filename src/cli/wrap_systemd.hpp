// Asking systemd, by its own tools: the only ones that are where systemd is.
#pragma once

#include <base/error.hpp>

#include <cli/wrap_decisions.hpp>

#include <string>
#include <vector>

namespace handoff::cli {

// Everything that can be found out about a unit, which need not run. `look_at_sockets` looks for its
// listeners, unless socket units have them.
result<surroundings> surroundings_of(std::string const& unit, bool look_at_sockets,
                                     std::vector<std::string>& notes);

// Runs `systemctl` with these words; the error is what it said.
result<> systemctl(std::vector<std::string> const& words);

// What systemd tells about the runs of a unit: each start of it, also an automatic one, is another run.
struct unit_run {
  std::string invocation;      // empty when nobody knows
  std::uint64_t restarts = 0;  // so often its program ended by itself, until this one was started
};
unit_run run_of(std::string const& unit);

}  // namespace handoff::cli
