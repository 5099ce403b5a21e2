// The commands that ask for one thing and report the answer: abort, reload, stop.
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

constexpr duration breath{50};  // between two looks at what may be gone

struct request {
  std::vector<std::string> names;
  bool json = false;
  bool wait = true;                 // stop: until the supervisor has ended
  std::optional<duration> timeout;  // stop: of that wait
};

// Prints `told` with the name of its service: as a sentence, or as JSON.
void report(request const& how, supervisor const& of, json told, std::string_view sentence) {
  told["service"] = of.name;
  out().line(how.json ? one_line(told) : fmt::format("{}: {}", of.name, sentence));
}

ending abort_one(request const& how, supervisor const& of) {
  auto told = ask(of, "Abort");
  if (!told) return tell(told.error());
  std::string sentence = fmt::format("rollout {} aborted", whole(*told, "rollout").value_or(0));
  if (auto status = ask(of, "Status")) sentence += "; " + who_serves(*status);
  report(how, of, *told, sentence);
  return ending::done;
}

ending reload_one(request const& how, supervisor const& of) {
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
ending wait_for_end(request const& how, supervisor const& of, connection link, socket_file const& before) {
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
    ::poll(nullptr, 0, static_cast<int>(breath.count()));
    auto again = begin_watch(of, deadline);
    if (!again) return again.error().how == ending::absent ? ending::done : tell(again.error());
    link = std::move(*again);
  }
}

ending stop_one(request const& how, supervisor const& of) {
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

using one_action = ending (*)(request const&, supervisor const&);

CLI::App* add_action(CLI::App& app, ending& outcome, char const* name, char const* what, one_action act,
                     std::shared_ptr<request> const& asked) {
  auto* command = app.add_subcommand(name, what);
  add_names(*command, asked->names)->required();
  add_json(*command, asked->json);
  command->callback([asked, act, &outcome] {
    outcome = one_by_one(asked->names, [&](supervisor const& of) { return act(*asked, of); });
  });
  return command;
}

}  // namespace

void add_abort(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "abort", "End the rollout under way; the live generation serves on", abort_one,
             std::make_shared<request>());
}

void add_reload(CLI::App& app, ending& outcome) {
  add_action(app, outcome, "reload", "Apply changed operator settings, without a rollout", reload_one,
             std::make_shared<request>());
}

void add_stop(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<request>();
  auto* command =
      add_action(app, outcome, "stop", "Drain everything and end the supervisor", stop_one, asked);
  command->add_flag("--wait,!--no-wait", asked->wait, "wait until it has ended (the default)");
  add_timeout(*command, asked->timeout);
}

}  // namespace handoff::cli
