// handoff: the operator's command. Speaks to the supervisors over their control sockets.
#include <base/text.hpp>

#include <CLI/CLI.hpp>
#include <cli/command.hpp>
#include <cli/durations.hpp>
#include <cli/supervisors.hpp>

namespace handoff::cli {

namespace {

constexpr auto commands = {add_status, add_watch,  add_history,    add_plan,       add_upgrade, add_promote,
                           add_pause,  add_resume, add_set_weight, add_experiment, add_abort,   add_rollback,
                           add_reload, add_reexec, add_stop,       add_check,      add_wrap,    add_demo};

constexpr auto footer =
    "NAME is the name of a service. Its supervisor is reached at NAME.sock in the runtime directory:\n"
    "$HANDOFF_RUNTIME_DIR; else /run/handoff, where others than root look after $XDG_RUNTIME_DIR/handoff.\n\n"
    "Exit codes: 0 done; 1 the rollout failed, the last good generation serves; 2 usage or invalid\n"
    "configuration; 3 no such supervisor; 4 gave up waiting, the rollout goes on; 5 the request was refused.";

}  // namespace

CLI::Option* add_names(CLI::App& command, std::vector<std::string>& names) {
  return command.add_option("NAME", names, "the service, or several")
      ->check([](std::string const& name) { return check_name(name); })
      ->type_name("");
}

void add_json(CLI::App& command, bool& wanted) {
  command.add_flag("--json", wanted, "print JSON, one value a line");
}

void add_timeout(CLI::App& command, std::optional<duration>& timeout) {
  command.add_option("--timeout", "give up waiting after this long: \"30s\", \"5m\"")
      ->type_name("TIME")
      ->check([](std::string const& text) {
        return read_duration(text) ? std::string()
                                   : "expected a time such as 30s or 5m, not '" + printable(text, 40) + "'";
      })
      ->each([&timeout](std::string const& text) { timeout = read_duration(text); });
}

void take_weight(CLI::Option& option, std::function<void(weight)> take) {
  option
      .check([](std::string const& text) {
        return read_weight(text)
                   ? std::string()
                   : "expected a percentage such as 5 or 0.25, not '" + printable(text, 40) + "'";
      })
      ->each([take](std::string const& text) { take(read_weight(text).value_or(no_weight)); });
}

}  // namespace handoff::cli

int main(int argc, char** argv) {
  using namespace handoff::cli;
  CLI::App app("Upgrade running services without losing a connection.", "handoff");
  app.set_version_flag("--version", "handoff " HANDOFF_VERSION);
  app.require_subcommand(1);
  app.footer(footer);
  ending outcome = ending::done;
  for (auto add : commands) add(app, outcome);
  try {
    app.parse(argc, argv);
  } catch (CLI::ParseError const& problem) {
    bool asked_for_help = app.exit(problem) == 0;
    return static_cast<int>(asked_for_help ? ending::done : ending::usage);
  }
  return static_cast<int>(outcome);
}
