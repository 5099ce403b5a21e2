// handoff status and handoff history: what is, and what was.
#include <CLI/CLI.hpp>
#include <cli/durations.hpp>
#include <cli/status_view.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace handoff::cli {

namespace {

struct status_request {
  std::vector<std::string> names;
  bool json = false;
  std::optional<std::uint32_t> limit;  // history
};

ending show_status(status_request const& asked) {
  std::vector<asked_status> all;
  for (auto& one : chosen_supervisors(asked.names)) {
    auto told = ask(one, "Status");
    all.push_back({std::move(one), std::move(told)});
  }
  if (all.empty()) return tell(no_supervisors());
  ending outcome = ending::done;
  for (auto const& one : all) {
    if (!one.told && !asked.names.empty()) outcome = tell(one.told.error());
  }
  if (asked.json) {
    for (auto const& one : all) {
      if (one.told) out().line(one_line(*one.told));
    }
  } else if (asked.names.size() == 1) {
    if (all[0].told) {
      for (auto const& line : details(all[0].of, *all[0].told, out())) out().line(line);
    }
  } else {
    for (auto const& line : overview(all, out())) out().line(line);
  }
  return outcome;
}

void add_history_row(table& rows, json const& entry) {
  std::string verdict = raw_text(entry, "verdict");
  bool good = verdict == "promoted";
  double seconds = member(entry, "seconds").is_number() ? member(entry, "seconds").get<double>() : 0;
  auto took = duration(std::llround(std::clamp(seconds, 0.0, 1e9) * 1000));
  auto generation = whole(entry, "generation");
  std::ranges::replace(verdict, '_', ' ');
  rows.add({{std::to_string(whole(entry, "rollout").value_or(0))},
            {generation ? std::to_string(*generation) : "-"},
            {line_of(verdict), good ? colour::green : colour::red},
            {humane(took)},
            {text(entry, "started")},
            {text(entry, "cause")},
            {text(entry, "reason")}});
}

ending show_history(status_request const& asked, supervisor const& of) {
  json limit = json::object();
  if (asked.limit) limit["limit"] = *asked.limit;
  auto told = ask(of, "History", std::move(limit));
  if (!told) return tell(told.error());
  table rows({"ROLLOUT", "GENERATION", "VERDICT", "TOOK", "STARTED", "CAUSE", "REASON"});
  for (json const& entry : list(*told, "rollouts")) {
    if (!asked.json) {
      add_history_row(rows, entry);
    } else if (entry.is_object()) {
      json line = entry;
      line["service"] = of.name;
      out().line(one_line(line));
    }
  }
  if (asked.json) return ending::done;
  if (asked.names.size() > 1) out().line(out().paint(colour::bold, of.name));
  if (list(*told, "rollouts").empty()) {
    out().line("no rollout yet");
  } else {
    for (auto const& line : rows.lines(out())) out().line(line);
  }
  return ending::done;
}

}  // namespace

void add_status(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<status_request>();
  auto* command = app.add_subcommand("status", "What the supervisors do; all about one when it is named");
  add_names(*command, asked->names);
  add_json(*command, asked->json);
  command->callback([asked, &outcome] { outcome = show_status(*asked); });
}

void add_history(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<status_request>();
  auto* command = app.add_subcommand("history", "The latest rollouts and how they ended, newest first");
  add_names(*command, asked->names)->required();
  command->add_option("--limit", "at most this many")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 1'000'000))
      ->each(
          [asked](std::string const& text) { asked->limit = static_cast<std::uint32_t>(std::stoul(text)); });
  add_json(*command, asked->json);
  command->callback(for_each_name(asked, show_history, outcome));
}

}  // namespace handoff::cli
