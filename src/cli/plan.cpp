// handoff plan: what an upgrade would do now.
#include <CLI/CLI.hpp>
#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>

#include <memory>

namespace handoff::cli {

namespace {

struct plan_request {
  std::vector<std::string> names;
  bool json = false;
};

ending show_plan(plan_request const& how, supervisor const& of) {
  auto told = ask(of, "Plan");
  if (!told) return tell(told.error());
  bool refused = member(*told, "refused").is_string();
  if (how.json) {
    json line = *told;
    line["service"] = of.name;
    out().line(one_line(line));
    return refused ? ending::refused : ending::done;
  }
  if (refused)
    return tell({ending::refused,
                 fmt::format("{}: an upgrade would be refused: {}", of.name, text(*told, "refused"))});
  out().line(fmt::format("{}: an upgrade now, by strategy '{}':", of.name, text(*told, "strategy")));
  std::size_t count = 0;
  for (auto const& step : lines(*told, "steps")) out().line(fmt::format("{:>3}. {}", ++count, step));
  return ending::done;
}

}  // namespace

void add_plan(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<plan_request>();
  auto* command = app.add_subcommand("plan", "What an upgrade would do now, without doing it");
  add_names(*command, asked->names)->required();
  add_json(*command, asked->json);
  command->callback(for_each_name(asked, show_plan, outcome));
}

}  // namespace handoff::cli
