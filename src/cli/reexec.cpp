// handoff reexec: makes supervisors become the handoffd that is installed by now.
#include <base/text.hpp>

#include <CLI/CLI.hpp>
#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>

#include <memory>

namespace handoff::cli {

namespace {

// The trial run of the new program, and the wait for a moment at which nothing is in flight, take no longer.
constexpr duration longest_reexec{60'000};

struct wish {
  std::vector<std::string> names;
  bool all = false;
  bool json = false;
};

struct outcome_of_one {
  std::string service;
  ending how = ending::done;
  std::string version;
  std::string why_not;
};

outcome_of_one reexec_one(supervisor const& of) {
  outcome_of_one ended{.service = of.name};
  auto told = ask(of, "Reexec", json::object(), longest_reexec);
  if (told) {
    ended.version = text(*told, "version");
    return ended;
  }
  ended.how = told.error().how == ending::refused ? ending::failed : told.error().how;
  ended.why_not = told.error().what;
  return ended;
}

void report(wish const& how, outcome_of_one const& one) {
  bool done = one.how == ending::done;
  if (how.json) {
    json told{{"service", one.service}, {"reexecuted", done}};
    if (done)
      told["version"] = one.version;
    else
      told["reason"] = one.why_not;
    return out().line(one_line(told));
  }
  if (done) return out().line(fmt::format("{}: goes on as handoffd {}", one.service, one.version));
  tell({one.how, one.why_not});
}

// All are tried: one that cannot goes on as it is, and keeps nobody else from it. That none runs is no
// failure of who means all of them.
ending reexec(wish const& how) {
  auto chosen = how.all ? all_supervisors() : chosen_supervisors(how.names);
  ending worst = ending::done;
  bool any = false;
  for (auto const& of : chosen) {
    auto one = reexec_one(of);
    bool stale = how.all && one.how == ending::absent;
    if (stale) continue;
    any = true;
    report(how, one);
    if (worst == ending::done) worst = one.how;
  }
  if (how.all && !any && !how.json) out().line("no supervisor runs");
  return worst;
}

}  // namespace

void add_reexec(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<wish>();
  auto* command =
      app.add_subcommand("reexec", "Make supervisors become the handoffd that is installed by now, in place");
  auto* names = add_names(*command, asked->names);
  auto* all = command->add_flag("--all", asked->all, "every supervisor that runs")->excludes(names);
  add_json(*command, asked->json);
  command->callback([asked, names, all, &outcome] {
    if (names->count() == 0 && all->count() == 0) throw CLI::RequiredError("NAME or --all");
    outcome = reexec(*asked);
  });
}

}  // namespace handoff::cli
