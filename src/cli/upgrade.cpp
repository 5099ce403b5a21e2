// handoff upgrade and handoff rollback: ask for a rollout, and wait for what the operator wants to know.
#include <CLI/CLI.hpp>
#include <cli/rollout.hpp>
#include <cli/upgrade_outdated.hpp>

#include <memory>

namespace handoff::cli {

namespace {

struct upgrade_request {
  std::vector<std::string> names;
  bool wait = false;
  rollout_request how;
  bool outdated = false;  // upgrade: whichever is; jobs and dry_run are of that
  unsigned jobs = 1;
  bool dry_run = false;
};

struct added {
  CLI::App* command;
  std::shared_ptr<upgrade_request> asked;
};

ending run(upgrade_request const& asked) {
  rollout_request how = asked.how;
  if (asked.outdated) {
    // As a reload does: a plan that holds for days must not keep those who wait for the others.
    if (how.until == goal::asked) how.until = asked.wait ? goal::promoted : goal::serving;
    return upgrade_outdated(
        {.names = asked.names, .jobs = asked.jobs, .dry_run = asked.dry_run, .how = std::move(how)});
  }
  if (asked.names.empty()) throw CLI::RequiredError("NAME");
  bool waits = asked.wait || how.timeout;
  if (waits && how.until == goal::asked) how.until = goal::promoted;
  return one_by_one(asked.names, [&](supervisor const& of) { return run_rollout(of, how); });
}

added add_rollout(CLI::App& app, ending& outcome, char const* name, char const* method, char const* what) {
  auto asked = std::make_shared<upgrade_request>();
  asked->how.method = method;
  auto* command = app.add_subcommand(name, what);
  add_names(*command, asked->names);
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
  command->callback([asked, &outcome] { outcome = run(*asked); });
  return {command, asked};
}

}  // namespace

void add_upgrade(CLI::App& app, ending& outcome) {
  auto [command, asked] = add_rollout(app, outcome, "upgrade", "Upgrade",
                                      "Start the release that is on disk in place of the one that serves");
  auto* outdated = command->add_flag("--outdated", asked->outdated,
                                     "only those whose program, script or libraries on disk are others than "
                                     "what runs, of all or of those named; waits, at least until serving");
  command->add_option("--jobs", asked->jobs, "with --outdated: rollouts at a time (1)")
      ->type_name("COUNT")
      ->check(CLI::Range(1U, most_jobs))
      ->needs(outdated);
  command->add_flag("--dry-run", asked->dry_run, "with --outdated: only tell which are, and why")
      ->needs(outdated);
}

void add_rollback(CLI::App& app, ending& outcome) {
  add_rollout(app, outcome, "rollback", "Rollback", "Go back to the generation before the one that serves");
}

}  // namespace handoff::cli
