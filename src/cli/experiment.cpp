// handoff experiment: start two variants side by side, compare them, keep one.
#include <base/text.hpp>

#include <CLI/CLI.hpp>
#include <cli/durations.hpp>
#include <cli/experiment_report.hpp>
#include <cli/rollout.hpp>
#include <cli/status_view.hpp>
#include <fmt/format.h>

#include <memory>

namespace handoff::cli {

namespace {

struct experiment_request {
  std::vector<std::string> names;
  bool as_json = false;
  std::optional<weight> part;       // start
  std::string keep;                 // conclude
  std::optional<duration> timeout;  // start, conclude
};

outcome<json> ask_for_report(supervisor const& of) {
  auto status = ask(of, "Status");
  if (!status) return std::unexpected(status.error());
  return experiment_report(of, *status);
}

// ---- start

// A generation that an earlier experiment started keeps its name for good.
std::string surprise(json const& live) {
  std::string has = text(live, "variant");
  if (has.empty() || has == text(live, "name")) return {};
  return fmt::format("generation {}, now '{}', still has HANDOFF_VARIANT={}",
                     whole(live, "generation").value_or(0), text(live, "name"), has);
}

ending tell_started(experiment_request const& how, supervisor const& of) {
  auto report = ask_for_report(of);
  if (!report) return tell(report.error());
  if (how.as_json) {
    out().line(one_line(*report));
    return ending::done;
  }
  json const& variants = list(*report, "variants");
  auto side = [](json const& v) {
    return fmt::format("'{}' (generation {}, {})", text(v, "name"), whole(v, "generation").value_or(0),
                       spell(part(v, "weight").value_or(no_weight)));
  };
  out().line(fmt::format("{}: {} and {} serve side by side, rollout {}", of.name, side(variants[0]),
                         side(variants[1]), whole(*report, "rollout").value_or(0)));
  if (auto note = surprise(variants[0]); !note.empty()) out().line("  note: " + note);
  out().line(fmt::format("  compare them:  handoff experiment report {}", of.name));
  out().line(fmt::format("  keep one:      handoff experiment conclude {} --keep {}", of.name,
                         text(variants[1], "name")));
  return ending::done;
}

ending start_one(experiment_request const& how, supervisor const& of) {
  auto planned = ask(of, "Plan");
  if (!planned) return tell(planned.error());
  if (std::string strategy = text(*planned, "strategy"); strategy != "experiment")
    return tell(
        {ending::refused,
         fmt::format("{}: refused: its strategy is '{}'; write strategy = \"experiment\" into [rollout] "
                     "of {}",
                     of.name, strategy, text(*planned, "configuration"))});
  json parameters{{"experiment", true}};
  if (how.part) parameters["weight"] = number(*how.part) / 100.0;
  return run_rollout(of, {.method = "Upgrade",
                          .parameters = std::move(parameters),
                          .until = goal::serving,
                          .timeout = how.timeout,
                          .as_json = how.as_json,
                          .then = [&](followed const& f) -> std::optional<ending> {
                            if (f.reached != "holding") return std::nullopt;
                            return tell_started(how, of);
                          }});
}

// ---- report

ending report_one(experiment_request const& how, supervisor const& of) {
  auto report = ask_for_report(of);
  if (!report) return tell(report.error());
  if (how.as_json) {
    out().line(one_line(*report));
  } else {
    for (auto const& line : report_lines(*report, out())) out().line(line);
  }
  return ending::done;
}

// ---- conclude

// An experiment that was concluded, as it stood before.
struct conclusion {
  experiment_request const& how;
  supervisor const& of;
  json report;
  std::size_t kept = 0;  // of its variants

  json const& side(std::size_t which) const { return list(report, "variants")[which]; }
  std::int64_t generation(std::size_t which) const { return whole(side(which), "generation").value_or(0); }
  std::optional<ending> tell_of(followed const&) const;
  ending tell_kept(std::string const& verdict) const;
};

std::optional<std::size_t> find_side(json const& report, std::string const& keep) {
  json const& variants = list(report, "variants");
  for (std::size_t i = 0; i < variants.size(); ++i) {
    auto generation = whole(variants[i], "generation");
    if (raw_text(variants[i], "name") == keep || (generation && std::to_string(*generation) == keep))
      return i;
  }
  return std::nullopt;
}

ending conclusion::tell_kept(std::string const& verdict) const {
  if (how.as_json) {
    out().line(one_line({{"service", of.name},
                         {"rollout", member(report, "rollout")},
                         {"kept", member(side(kept), "name")},
                         {"generation", member(side(kept), "generation")},
                         {"verdict", verdict},
                         {"report", report}}));
    return ending::done;
  }
  for (auto const& line : report_lines(report, out())) out().line(line);
  std::size_t left = 1 - kept;
  std::string rest = "is gone";
  json status = ask(of, "Status").value_or(json::object());
  for (json const& g : list(status, "generations")) {
    if (whole(g, "number") != generation(left)) continue;
    auto time = span(g, "deadline_in_ms");
    rest = time ? "drains for at most " + humane(*time) : "drains";
  }
  out().line("");
  out().line(fmt::format("{}: '{}' is kept: generation {} serves; '{}', generation {}, {}", of.name,
                         text(side(kept), "name"), generation(kept), text(side(left), "name"),
                         generation(left), rest));
  return ending::done;
}

std::optional<ending> conclusion::tell_of(followed const& f) const {
  // Between two questions the experiment may have ended, and another rollout begun.
  if (f.rollout != whole(report, "rollout"))
    return tell(
        {ending::failed, fmt::format("{}: the experiment had ended before; what was concluded is rollout "
                                     "{} (handoff history {})",
                                     of.name, f.rollout, of.name)});
  if (f.reached == "promoted") return tell_kept("promoted");
  bool as_asked = f.reached == "failed" && kept == 0 && raw_text(f.told, "reason") == "aborted";
  return as_asked ? std::optional(tell_kept("rolled_back")) : std::nullopt;
}

ending conclude_one(experiment_request const& how, supervisor const& of) {
  auto report = ask_for_report(of);
  if (!report) return tell(report.error());
  auto kept = find_side(*report, how.keep);
  if (!kept) {
    auto side = [&](std::size_t which) {
      json const& v = list(*report, "variants")[which];
      return fmt::format("'{}' (generation {})", text(v, "name"), whole(v, "generation").value_or(0));
    };
    return tell({ending::usage, fmt::format("{}: --keep: expected {} or {}, found '{}'", of.name, side(0),
                                            side(1), printable(how.keep, 40))});
  }
  conclusion concluded{how, of, std::move(*report), *kept};
  return run_rollout(of, {.method = *kept == 0 ? "Abort" : "Promote",
                          .until = goal::promoted,
                          .timeout = how.timeout,
                          .as_json = how.as_json,
                          .then = [&](followed const& f) { return concluded.tell_of(f); }});
}

using one_action = ending (*)(experiment_request const&, supervisor const&);

CLI::App* add_part(CLI::App& experiment, ending& outcome, char const* name, char const* what, one_action act,
                   std::shared_ptr<experiment_request> const& asked) {
  auto* command = experiment.add_subcommand(name, what);
  command->add_option("NAME", asked->names.emplace_back(), "the service")
      ->required()
      ->check([](std::string const& given) { return check_name(given); })
      ->type_name("");
  add_json(*command, asked->as_json);
  command->callback(for_each_name(asked, act, outcome));
  return command;
}

}  // namespace

void add_experiment(CLI::App& app, ending& outcome) {
  auto* experiment =
      app.add_subcommand("experiment", "Two variants side by side: start them, compare them, keep one");
  experiment->require_subcommand(1);
  auto started = std::make_shared<experiment_request>();
  auto* start = add_part(*experiment, outcome, "start", "Start the second variant beside the one that serves",
                         start_one, started);
  auto* part = start->add_option("--weight", "its part of the traffic instead of the configured one");
  take_weight(*part->type_name("PERCENT"), [started](weight given) { started->part = given; });
  add_timeout(*start, started->timeout);
  add_part(*experiment, outcome, "report", "How the variants compare", report_one,
           std::make_shared<experiment_request>());
  auto concluded = std::make_shared<experiment_request>();
  auto* conclude = add_part(*experiment, outcome, "conclude", "End it: one variant gets all traffic",
                            conclude_one, concluded);
  conclude->add_option("--keep", concluded->keep, "the variant, or its generation's number")
      ->required()
      ->type_name("VARIANT");
  add_timeout(*conclude, concluded->timeout);
}

}  // namespace handoff::cli
