// handoff upgrade and handoff rollback: ask for a rollout, and wait for what the operator wants to know.
#include <CLI/CLI.hpp>
#include <cli/rollout.hpp>

#include <memory>

namespace handoff::cli {

namespace {

struct request {
  std::vector<std::string> names;
  bool wait = false;
  rollout_request how;
};

void add_rollout(CLI::App& app, ending& outcome, char const* name, char const* method, char const* what) {
  auto asked = std::make_shared<request>();
  asked->how.method = method;
  auto* command = app.add_subcommand(name, what);
  add_names(*command, asked->names)->required();
  command->add_flag("--wait", asked->wait, "wait until the rollout is promoted, or has failed");
  command
      ->add_option("--until",
                   "wait until serving (a hold on the way counts), promoted (the default) or drained")
      ->type_name("GOAL")
      ->check(CLI::IsMember({"serving", "promoted", "drained"}))
      ->each([asked](std::string const& text) {
        asked->how.until = text == "serving"   ? goal::serving
                           : text == "drained" ? goal::drained
                                               : goal::promoted;
      });
  add_timeout(*command, asked->how.timeout);
  add_json(*command, asked->how.as_json);
  command->callback([asked, &outcome] {
    rollout_request how = asked->how;
    bool waits = asked->wait || how.timeout;
    if (waits && how.until == goal::asked) how.until = goal::promoted;
    outcome = one_by_one(asked->names, [&](supervisor const& of) { return run_rollout(of, how); });
  });
}

}  // namespace

void add_upgrade(CLI::App& app, ending& outcome) {
  add_rollout(app, outcome, "upgrade", "Upgrade",
              "Start the release that is on disk in place of the one that serves");
}

void add_rollback(CLI::App& app, ending& outcome) {
  add_rollout(app, outcome, "rollback", "Rollback", "Go back to the generation before the one that serves");
}

}  // namespace handoff::cli
