// handoff wrap: puts a service that systemd runs under handoffd, and takes it out again.
#include <base/text.hpp>
#include <wire/config_address.hpp>
#include <wire/config_toml.hpp>

#include <CLI/CLI.hpp>
#include <cli/command.hpp>
#include <cli/status_view.hpp>
#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>
#include <cli/wrap_files.hpp>
#include <cli/wrap_install.hpp>
#include <cli/wrap_systemd.hpp>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <memory>

namespace handoff::cli {

namespace {

constexpr std::size_t longest_shown = 300;                      // of a value, on a line
constexpr duration patience_beyond = std::chrono::seconds(30);  // beside what a service may take to get ready
constexpr duration between_tries{50};                           // between two looks at it
constexpr auto restart_script = HANDOFF_LIBEXEC "/handoff-needrestart";

struct wrap_request {
  std::string unit;
  wish wanted;
  bool dry_run = false, write = false, undo = false, json = false;
};

// All that becomes of a unit.
struct outcome_of_wrap {
  wrapping made;
  wrap_paths paths;
  std::string configuration, drop_in;
  bool active = false, by_sockets = false;
};

std::string full_name(std::string unit) { return unit.find('.') == unit.npos ? unit + ".service" : unit; }

// Our own reader has the last word: it must read exactly what was decided.
result<> check(outcome_of_wrap const& all) {
  auto reading = read_config(all.configuration);
  if (!reading.problems.empty())
    return plain_failure(to_string(reading.problems[0], all.paths.configuration));
  if (reading.value != all.made.configuration)
    return plain_failure(all.paths.configuration +
                         ": it would not say what was decided; this is a mistake of ours");
  return {};
}

// What else may restart it.
void note_restarts(wrap_paths const& paths, surroundings const& of, std::vector<std::string>& notes) {
  if (needs_restart_link(paths, restart_script))
    notes.push_back(paths.restart + " becomes a link: needrestart upgrades it, and does not restart it");
  auto from_package = [](std::string const& path) {
    return path.starts_with("/usr/lib/") || path.starts_with("/lib/");
  };
  if (std::ranges::any_of(of.unit.files, from_package))
    notes.push_back(
        "when scripts of its package restart the unit, that is a stop, which drains, and a start, and no "
        "upgrade: see policy-rc.d in docs/wrap.md");
}

result<outcome_of_wrap> prepare(wrap_request const& how) {
  std::vector<std::string> notes;
  auto of = surroundings_of(full_name(how.unit), how.wanted.listeners.empty(), notes);
  if (!of) return std::unexpected(of.error());
  outcome_of_wrap all{.made = wrap(*of, how.wanted)};
  all.made.notes.insert(all.made.notes.end(), notes.begin(), notes.end());
  all.active = of->unit.active;
  all.by_sockets = !of->socket_listeners.empty();
  all.paths = paths_of(all.made.unit, all.made.configuration.service.name);
  all.configuration = configuration_text(all.made.configuration, all.made.unit);
  installation const at{HANDOFF_SBIN "/handoffd", HANDOFF_BIN "/handoff", HANDOFF_LIBEXEC "/handoff-sweep"};
  all.drop_in = drop_in_text(
      all.made, at, {all.paths.configuration, digest_of(all.configuration), missing_directories(all.paths)});
  if (!all.made.possible()) return all;
  if (auto good = check(all); !good) return std::unexpected(good.error());
  note_restarts(all.paths, *of, all.made.notes);
  return all;
}

colour colour_of(fate what) {
  switch (what) {
    case fate::carried:
      return colour::green;
    case fate::kept:
      return colour::plain;
    case fate::changed:
    case fate::dropped:
      return colour::yellow;
    case fate::refused:
      return colour::red;
  }
  return colour::plain;
}

void show_text(std::string const& path, std::string const& text) {
  out().line("");
  out().line(out().paint(colour::bold, path));
  std::string_view rest = text;
  while (!rest.empty()) {
    auto end = rest.find('\n');
    out().line("  " + printable(rest.substr(0, end), 4000));
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
}

void show(outcome_of_wrap const& all) {
  out().line(fmt::format("{} as the service '{}' under handoffd:", all.made.unit,
                         all.made.configuration.service.name));
  for (auto const& d : all.made.decisions) {
    std::string value = d.value.empty() ? "" : "=" + printable(d.value, longest_shown);
    out().line(fmt::format("  {}  {}{}",
                           out().paint(colour_of(d.what), fmt::format("{:<7}", to_string(d.what))),
                           printable(d.directive, longest_shown), value));
    out().line("           " + out().paint(colour::faint, printable(d.why, longest_shown * 2)));
  }
  for (auto const& note : all.made.notes) out().line("  note: " + printable(note, longest_shown * 2));
}

json as_json(outcome_of_wrap const& all, bool written) {
  json decisions = json::array();
  for (auto const& d : all.made.decisions)
    decisions.push_back(
        {{"decision", to_string(d.what)}, {"directive", d.directive}, {"value", d.value}, {"why", d.why}});
  return {{"unit", all.made.unit},
          {"service", all.made.configuration.service.name},
          {"possible", all.made.possible()},
          {"written", written},
          {"decisions", decisions},
          {"notes", all.made.notes},
          {"files", {{all.paths.configuration, all.configuration}, {all.paths.drop_in, all.drop_in}}}};
}

// Puts the files of a unit in place, or away. One that runs is moved over: its own stop before, so that it
// ends as it always did. Behind a socket unit that would start it again at the next client; there one restart
// does both.
result<> change(std::string const& unit, bool active, bool by_sockets, std::function<result<>()> const& files,
                std::function<result<>()> const& start) {
  if (active && !by_sockets)
    if (auto stopped = systemctl({"stop", unit}); !stopped) return stopped;
  auto done = files();
  if (done) done = systemctl({"daemon-reload"});
  if (!active) return done;
  auto started = start();
  return done ? started : done;
}

// Whether the first generation came to serve. `systemctl start` alone would wait for as long as handoffd
// tries again. `before` is the run of the unit that was asked to end.
result<> await_verdict(std::string const& unit, service_settings const& service, unit_run const& before) {
  instant deadline = deadline_after(service.ready.extend_max + patience_beyond);
  auto of = find_supervisor(service.name);
  while (now() < deadline) {
    if (auto status = ask(of, "Status")) {
      if (whole(*status, "live"))
        return systemctl({"start", unit});  // which waits until systemd knows it too
      if (text(*status, "state") == "degraded") return plain_failure(verdict_of(member(*status, "last")));
    }
    // Until it has ended, what is counted are its own restarts.
    if (auto run = run_of(unit); run.invocation != before.invocation && run.restarts > 0)
      return plain_failure("handoffd did not stay: see journalctl --unit=" + unit);
    ::poll(nullptr, 0, static_cast<int>(between_tries.count()));
  }
  return plain_failure("no word from handoffd: see journalctl --unit=" + unit);
}

ending undo(wrap_request const& how) {
  std::string unit = full_name(how.unit);
  std::vector<std::string> notes;
  auto of = surroundings_of(unit, false, notes);
  if (!of) return tell({ending::refused, of.error().message()});
  if (!is_wrapped(of->unit.id)) return tell({ending::refused, of->unit.id + " is not wrapped"});
  bool by_sockets = !of->socket_listeners.empty();
  auto done = change(
      of->unit.id, of->unit.active, by_sockets, [&] { return uninstall(of->unit.id, restart_script, notes); },
      [&] { return systemctl({by_sockets ? "restart" : "start", of->unit.id}); });
  if (!done) return tell({ending::refused, done.error().message()});
  if (how.json)
    out().line(one_line({{"unit", of->unit.id}, {"undone", true}, {"notes", notes}}));
  else
    out().line(of->unit.id + ": as it was before");
  if (!how.json)
    for (auto const& note : notes) out().line("  note: " + note);
  return ending::done;
}

// When it does not come to serve, everything is as before.
ending write(outcome_of_wrap const& all) {
  if (auto free = are_free(all.paths); !free) return tell({ending::refused, free.error().message()});
  auto const& unit = all.made.unit;
  std::string verb = all.by_sockets ? "restart" : "start";
  auto start = [&]() -> result<> {
    auto before = run_of(unit);
    if (auto begun = systemctl({"--no-block", verb, unit}); !begun) return begun;
    return await_verdict(unit, all.made.configuration.service, before);
  };
  auto put = [&] {
    return install(all.paths, all.configuration, all.made.secret, all.drop_in, restart_script);
  };
  auto done = change(unit, all.active, all.by_sockets, put, start);
  if (done) return ending::done;
  std::vector<std::string> notes;
  auto take_away = [&]() -> result<> {
    return is_wrapped(unit) ? uninstall(unit, restart_script, notes) : result<>();
  };
  auto back = change(unit, all.active, all.by_sockets, take_away, [&] { return systemctl({verb, unit}); });
  tell({ending::failed, fmt::format("{}: it does not run under handoffd: {}", unit, done.error().message())});
  return tell({ending::failed, back ? unit + ": as it was before" : back.error().message()});
}

ending run(wrap_request const& how) {
  if (how.undo) return undo(how);
  auto all = prepare(how);
  if (!all) return tell({ending::refused, all.error().message()});
  bool possible = all->made.possible();
  if (!how.json) show(*all);
  ending ended = possible ? ending::done : ending::refused;
  if (possible && how.write) ended = write(*all);
  bool written = how.write && ended == ending::done;
  if (how.json) out().line(one_line(as_json(*all, written)));
  if (how.json) return ended;
  if (!how.write) {
    show_text(all->paths.configuration, all->configuration);
    show_text(all->paths.drop_in, all->drop_in);
  }
  out().line("");
  if (!possible)
    out().line("Nothing was written: it cannot be wrapped like this.");
  else if (written)
    out().line(fmt::format("Written. {}Upgrade it by `handoff upgrade {}` or `systemctl reload {}`.",
                           all->active ? "It runs under handoffd. " : "",
                           all->made.configuration.service.name, all->made.unit));
  else if (!how.write)
    out().line(fmt::format("Nothing was written. With --write it is{}.",
                           all->active ? ", and the service is stopped before and started after" : ""));
  return ended;
}

// "ADDRESS" or "NAME=ADDRESS".
std::string read_listener(std::string const& text, wish& into) {
  auto equals = text.find('=');
  bool named = equals != text.npos && !text.starts_with("unix:");
  auto at = parse_address(named ? text.substr(equals + 1) : text);
  if (!at) return at.error().message();
  into.listeners.push_back({named ? text.substr(0, equals) : "", at->address, at->type, {}});
  return {};
}

std::string read_variable(std::string const& text, wish& into) {
  auto equals = text.find('=');
  if (equals == text.npos || equals == 0) return "expected NAME=VALUE";
  into.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  return {};
}

// Each value goes to `read`, which tells what is wrong with it.
void take_each(CLI::Option& option, std::shared_ptr<wrap_request> asked,
               std::string (*read)(std::string const&, wish&)) {
  option.multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check([read](std::string const& text) {
        wish scratch;
        return read(text, scratch);
      })
      ->each([asked, read](std::string const& text) { read(text, asked->wanted); });
}

}  // namespace

void add_wrap(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<wrap_request>();
  auto* command =
      app.add_subcommand("wrap", "Put a service that systemd runs under handoffd; tells what it would do");
  command->add_option("UNIT", asked->unit, "the unit of the service")->required()->type_name("");
  command->add_flag("--write", asked->write, "write the files; a unit that runs moves over");
  command->add_flag("--undo", asked->undo, "make the unit again what it was before")->excludes("--write");
  command->add_flag("--dry-run", asked->dry_run, "tell only, which is the default")
      ->excludes("--write")
      ->excludes("--undo");
  command->add_option("--name", asked->wanted.name, "of the service, instead of the unit's")
      ->type_name("NAME")
      ->check([](std::string const& name) { return check_name(name); });
  auto* listen = command->add_option(
      "--listen",
      "what it listens at, where it has no socket unit, instead of what is found; may be repeated");
  take_each(*listen->type_name("[NAME=]ADDRESS"), asked, read_listener);
  auto* argument = command->add_option("--argument", "add this to the command; may be repeated");
  take_each(*argument->type_name("WORD"), asked, [](std::string const& text, wish& into) {
    into.arguments.push_back(text);
    return std::string();
  });
  auto* environment = command->add_option("--environment", "add this to its environment; may be repeated");
  take_each(*environment->type_name("NAME=VALUE"), asked, read_variable);
  command->add_flag("--listen-fds", asked->wanted.listen_fds, "it takes sockets as from systemd");
  add_json(*command, asked->json);
  command->callback([asked, &outcome] { outcome = run(*asked); });
}

}  // namespace handoff::cli
