// What the commands of `handoff` share: how they end, and how they join the command line.
#pragma once

#include <core/ids.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

// The library's header takes seconds to compile: only who defines options includes it.
namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace handoff::cli {

// What the process exits with.
enum class ending {
  done = 0,
  failed = 1,   // the rollout failed and the last good generation serves
  usage = 2,    // usage, or an invalid configuration
  absent = 3,   // no such supervisor
  gave_up = 4,  // waiting; what was waited for goes on
  refused = 5,  // not allowed, or nothing to act on
};

// Each adds one command. When the command line asks for it, it runs and leaves its ending in `outcome`.
void add_status(CLI::App&, ending& outcome);
void add_watch(CLI::App&, ending& outcome);
void add_history(CLI::App&, ending& outcome);
void add_upgrade(CLI::App&, ending& outcome);
void add_rollback(CLI::App&, ending& outcome);
void add_plan(CLI::App&, ending& outcome);
void add_promote(CLI::App&, ending& outcome);
void add_pause(CLI::App&, ending& outcome);
void add_resume(CLI::App&, ending& outcome);
void add_set_weight(CLI::App&, ending& outcome);
void add_experiment(CLI::App&, ending& outcome);
void add_abort(CLI::App&, ending& outcome);
void add_reload(CLI::App&, ending& outcome);
void add_reexec(CLI::App&, ending& outcome);
void add_stop(CLI::App&, ending& outcome);
void add_check(CLI::App&, ending& outcome);
void add_wrap(CLI::App&, ending& outcome);
void add_demo(CLI::App&, ending& outcome);

// The options that most commands have.
CLI::Option* add_names(CLI::App& command, std::vector<std::string>& names);
void add_json(CLI::App& command, bool& wanted);
void add_timeout(CLI::App& command, std::optional<duration>& timeout);
// Makes an option take a part of the traffic, in percent.
void take_weight(CLI::Option& option, std::function<void(weight)> take);

}  // namespace handoff::cli
