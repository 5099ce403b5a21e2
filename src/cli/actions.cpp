// The commands that ask for one thing and report the answer: what moves a rollout on or ends it, reload,
// stop.
#include <base/text.hpp>

#include <CLI/CLI.hpp>
#include <cli/durations.hpp>
#include <cli/status_view.hpp>
#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/stat.h>

#include <memory>

namespace handoff::cli {

namespace {

constexpr duration between_looks{50};  // between two looks at what may be gone

struct action_request {
  std::vector<std::string> names;
  bool json = false;
  bool full = false;                // promote: past every later hold too
  weight part{};                    // set-weight
  bool wait = true;                 // stop: until the supervisor has ended
  std::optional<duration> timeout;  // stop: of that wait
};

// Prints `told` with the name of its service: as a sentence, or as JSON.
void report(action_request const& how, supervisor const& of, json told, std::string_view sentence) {
  told["service"] = of.name;
  out().line(how.json ? one_line(told) : fmt::format("{}: {}", of.name, sentence));
}

// "rollout 3 goes on: holding at 25 %, waits for …", or how it ended meanwhile.
std::string goes_on(json const& status, std::int64_t rollout) {
  std::string said = fmt::format("rollout {} ", rollout);
  json const& last = member(status, "last");
  if (whole(last, "rollout") == rollout) return said + "is over: " + verdict_of(last);
  std::string where = whereabouts(member(status, "rollout"));
  return said + (where.empty() ? "goes on" : "goes on: " + where);
}

// Asks for something that changes the rollout under way, and tells where that is then.
ending move_one(action_request const& how, supervisor const& of, char const* method, json parameters) {
  auto told = ask(of, method, std::move(parameters));
  if (!told) return tell(told.error());
  json status = ask(of, "Status").value_or(json::object());
  report(how, of, *told, goes_on(status, whole(*told, "rollout").value_or(0)));
  return ending::done;
}

ending promote_one(action_request const& how, supervisor const& of) {
  return move_one(how, of, "Promote", how.full ? json{{"full", true}} : json::object());
}

ending resume_one(action_request const& how, supervisor const& of) {
  return move_one(how, of, "Resume", json::object());
}

ending pause_one(action_request const& how, supervisor const& of) {
  auto told = ask(of, "Pause");
  if (!told) return tell(told.error());
  std::string sentence = fmt::format("rollout {} is paused", whole(*told, "rollout").value_or(0));
  if (auto status = ask(of, "Status"); status && member(*status, "rollout").is_object())
    sentence += " at: " + text(member(*status, "rollout"), "stage");
  report(how, of, *told, sentence);
  return ending::done;
}

ending weigh_one(action_request const& how, supervisor const& of) {
  auto told = ask(of, "SetWeight", {{"weight", number(how.part) / 100.0}});
  if (!told) return tell(told.error());
  auto status = ask(of, "Status").value_or(json::object());
  auto candidate = whole(member(status, "rollout"), "generation");
  report(
      how, of, *told,
      fmt::format("rollout {}: {} takes {} of the traffic", whole(*told, "rollout").value_or(0),
                  candidate ? fmt::format("generation {}", *candidate) : "the candidate", spell(how.part)));
  return ending::done;
}

ending abort_one(action_request const& how, supervisor const& of) {
  auto told = ask(of, "Abort");
  if (!told) return tell(told.error());
  std::string sentence = fmt::format("rollout {} aborted", whole(*told, "rollout").value_or(0));
  if (auto status = ask(of, "Status")) sentence += "; " + who_serves(*status);
  report(how, of, *told, sentence);
  return ending::done;
}

ending reload_one(action_request const& how, supervisor const& of) {
  auto told = ask(of, "Reload");
  if (!told) return tell(told.error());
  auto applied = lines(*told, "applied");
  report(how, of, *told,
         applied.empty() ? "nothing has changed" : fmt::format("applied: {}", fmt::join(applied, ", ")));
  return ending::done;
}

// Which socket file it is. A successor that a service manager started has another one.
using socket_file = std::optional<std::pair<dev_t, ino_t>>;
socket_file socket_file_of(supervisor const& of) {
  struct stat file;
  if (::stat(of.path.c_str(), &file) < 0) return std::nullopt;
  return std::pair(file.st_dev, file.st_ino);
}

// Waits until the supervisor behind `link` is gone: it closes every connection when it ends.
ending wait_for_end(action_request const& how, supervisor const& of, connection link,
                    socket_file const& before) {
  instant deadline = deadline_after(how.timeout);
  for (;;) {
    auto told = link.receive(deadline);
    if (told) {
      if (err().terminal && !how.json) err().line(text(member(told->parameters, "event"), "text"));
      continue;
    }
    if (is(told.error(), std::errc::timed_out)) {
      auto waited = humane(how.timeout.value_or(duration(0)));
      return tell({ending::gave_up,
                   fmt::format("{}: gave up waiting after {}; it goes on stopping", of.name, waited)});
    }
    // Gone, unless it still answers at the same socket: then only we were cut off.
    if (!before || socket_file_of(of) != before) return ending::done;
    ::poll(nullptr, 0, static_cast<int>(between_looks.count()));
    auto again = begin_watch(of, deadline);
    if (!again) return again.error().how == ending::absent ? ending::done : tell(again.error());
    link = std::move(*again);
  }
}

ending stop_one(action_request const& how, supervisor const& of) {
  // Watching begins before the stop is asked for, so that its end is seen however quick it is.
  auto link = begin_watch(of, now() + answer_patience);
  if (!link) return tell(link.error());
  auto file = socket_file_of(of);
  auto told = ask(of, "Stop");
  if (!told) return tell(told.error());
  if (!how.wait) {
    report(how, of, {{"stopped", false}}, "stopping");
    return ending::done;
  }
  ending ended = wait_for_end(how, of, std::move(*link), file);
  if (ended == ending::done) report(how, of, {{"stopped", true}}, "stopped");
  return ended;
}

using one_action = ending (*)(action_request const&, supervisor const&);

CLI::App* add_action(CLI::App& app, ending& outcome, char const* name, char const* what, one_action act,
                     std::shared_ptr<action_request> const& asked) {
  auto* command = app.add_subcommand(name, what);
  add_names(*command, asked->names)->required();
  add_json(*command, asked->json);
  command->callback(for_each_name(asked, act, outcome));
  return command;
}

}  // namespace

void add_promote(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<action_request>();
  auto* command = add_action(app, outcome, "promote", "End the hold under way and go on with the plan",
                             promote_one, asked);
  command->add_flag("--full", asked->full, "and do not stop at any later hold");
}

void add_pause(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "pause", "Let the rollout finish its step, but not begin the next one", pause_one,
             std::make_shared<action_request>());
}

void add_resume(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "resume", "Let a paused rollout go on", resume_one,
             std::make_shared<action_request>());
}

void add_set_weight(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<action_request>();
  auto* command = app.add_subcommand(
      "set-weight", "Give the candidate this part of the traffic until the plan's next weight");
  auto* name = command->add_option("NAME", asked->names.emplace_back(), "the service");
  name->required()->check([](std::string const& given) { return check_name(given); })->type_name("");
  auto* part = command->add_option("PERCENT", "from 0 to 100, with at most two decimals: 5, 0.25");
  take_weight(*part->required()->type_name(""), [asked](weight given) { asked->part = given; });
  add_json(*command, asked->json);
  command->callback(for_each_name(asked, weigh_one, outcome));
}

void add_abort(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "abort", "End the rollout under way; the live generation serves on", abort_one,
             std::make_shared<action_request>());
}

void add_reload(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "reload", "Apply changed operator settings, without a rollout", reload_one,
             std::make_shared<action_request>());
}

void add_stop(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<action_request>();
  auto* command =
      add_action(app, outcome, "stop", "Drain everything and end the supervisor", stop_one, asked);
  command->add_flag("--wait,!--no-wait", asked->wait, "wait until it has ended (the default)");
  add_timeout(*command, asked->timeout);
}

}  // namespace handoff::cli
