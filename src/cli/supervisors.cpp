#include "supervisors.hpp"

#include <base/text.hpp>
#include <core/settings.hpp>

#include <cli/durations.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace handoff::cli {

namespace {

constexpr std::string_view suffix = ".sock";
constexpr std::string_view our_interface = "io.handoff.Supervisor.";
constexpr char const* system_directory = "/run/handoff";

// Where control sockets are, the first one first. A user who is in the control group of a system service
// finds it under its name too.
std::vector<std::string> runtime_directories() {
  if (char const* set = std::getenv("HANDOFF_RUNTIME_DIR"); set != nullptr && *set != '\0') return {set};
  if (::geteuid() == 0) return {system_directory};
  std::vector<std::string> directories;
  if (char const* own = std::getenv("XDG_RUNTIME_DIR"); own != nullptr && *own != '\0') {
    directories.push_back(std::string(own) + "/handoff");
  }
  directories.emplace_back(system_directory);
  return directories;
}

// The two places in such a directory: its own, and one that belongs to the user whom a single service runs
// as. Who owns `directory` made the latter under that name, so nobody can pose as another service there.
std::array<std::string, 2> socket_paths(std::string const& directory, std::string const& name) {
  std::string const file = "/" + name + std::string(suffix);
  return {directory + file, directory + "/" + name + file};
}

bool exists(std::string const& path) {
  struct stat file;
  return ::lstat(path.c_str(), &file) == 0 || errno == EACCES;
}

bool is_socket(std::string const& path) {
  std::error_code ignored;
  return std::filesystem::is_socket(std::filesystem::symlink_status(path, ignored));
}

std::string user_name(uid_t uid) {
  passwd const* entry = ::getpwuid(uid);
  return entry == nullptr ? std::to_string(uid) : entry->pw_name;
}

std::string group_name(gid_t gid) {
  ::group const* entry = ::getgrgid(gid);
  return entry == nullptr ? std::to_string(gid) : entry->gr_name;
}

// Who may connect, from the mode of the socket's file.
std::string who_may(std::string const& path) {
  struct stat file;
  if (::stat(path.c_str(), &file) < 0) return "only those who may enter its directory may talk to it";
  std::string who = "root";
  if (file.st_uid != 0) who += " and " + user_name(file.st_uid);
  if ((file.st_mode & S_IWGRP) != 0) who += " and members of group " + group_name(file.st_gid);
  return "only " + who + " may talk to it";
}

// Whether somebody answers; a supervisor that we may not talk to runs as well.
bool is_running(supervisor const& one) {
  auto made = connection::open(one.path, now() + std::chrono::seconds(1));
  return made || !(is(made.error(), std::errc::connection_refused) ||
                   is(made.error(), std::errc::no_such_file_or_directory));
}

trouble absent(supervisor const& wanted) {
  std::vector<std::string> running;
  for (auto const& other : all_supervisors()) {
    if (other.name != wanted.name && is_running(other)) running.push_back(printable(other.name, 64));
  }
  std::string what = fmt::format("no supervisor of '{}' runs ({})", wanted.name, printable(wanted.path, 200));
  what += running.empty() ? "; none of another service either"
                          : fmt::format("; running: {}", fmt::join(running, ", "));
  return {ending::absent, what};
}

}  // namespace

ending tell(trouble const& t) {
  err().line("handoff: " + t.what);
  return t.how;
}

std::string check_name(std::string const& name) {
  if (name.empty() || name.size() > limit::name_length) {
    return fmt::format("the name of a service has 1 to {} characters", limit::name_length);
  }
  bool plain = name[0] != '.' &&
               std::ranges::all_of(name, [](unsigned char c) { return c > ' ' && c != '/' && c != 0x7F; });
  return plain ? std::string() : "'" + printable(name, 64) + "' is not the name of a service";
}

supervisor find_supervisor(std::string const& name) {
  auto directories = runtime_directories();
  for (auto const& directory : directories) {
    for (auto const& path : socket_paths(directory, name)) {
      if (exists(path)) return {name, path};
    }
  }
  return {name, socket_paths(directories.front(), name).front()};
}

std::vector<supervisor> all_supervisors() {
  std::vector<supervisor> found;
  for (auto const& directory : runtime_directories()) {
    std::error_code ignored;
    for (std::filesystem::directory_iterator it(directory, ignored), end; !ignored && it != end;
         it.increment(ignored)) {
      std::string name = it->path().filename().string();
      if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
      bool known = std::ranges::find(found, name, &supervisor::name) != found.end();
      if (known || !check_name(name).empty()) continue;
      auto paths = socket_paths(directory, name);
      auto path = std::ranges::find_if(paths, is_socket);
      if (path != paths.end()) found.push_back({name, *path});
    }
  }
  std::ranges::sort(found, {}, &supervisor::name);
  return found;
}

std::vector<supervisor> chosen_supervisors(std::vector<std::string> const& names) {
  if (names.empty()) return all_supervisors();
  std::vector<supervisor> chosen;
  for (auto const& name : names) chosen.push_back(find_supervisor(name));
  return chosen;
}

ending one_by_one(std::vector<std::string> const& names,
                  std::function<ending(supervisor const&)> const& act) {
  for (auto name = names.begin(); name != names.end(); ++name) {
    ending one = act(find_supervisor(*name));
    if (one == ending::done) continue;
    if (name + 1 != names.end())
      err().line(fmt::format("handoff: left alone: {}", fmt::join(name + 1, names.end(), ", ")));
    return one;
  }
  return ending::done;
}

trouble no_supervisors() {
  return {ending::absent,
          fmt::format("no supervisor runs (looked in {})", fmt::join(runtime_directories(), " and "))};
}

trouble trouble_with(supervisor const& asked, error const& e) {
  if (is(e, std::errc::connection_refused) || is(e, std::errc::no_such_file_or_directory))
    return absent(asked);
  if (is(e, std::errc::permission_denied) || is(e, std::errc::operation_not_permitted)) {
    return {ending::refused, fmt::format("{}: not allowed: {}", asked.name, who_may(asked.path))};
  }
  if (is(e, std::errc::timed_out)) {
    return {ending::gave_up,
            fmt::format("{}: the supervisor did not answer in {}", asked.name, humane(answer_patience))};
  }
  auto how = is(e, std::errc::interrupted) ? ending::gave_up : ending::absent;
  return {how, asked.name + ": " + printable(e.message(), 500)};
}

trouble trouble_with(supervisor const& asked, varlink::reply const& told) {
  std::string_view name = told.error;
  if (!name.starts_with(our_interface)) {
    return {ending::refused,
            fmt::format("{}: the supervisor does not understand: {}", asked.name, printable(name, 200))};
  }
  name.remove_prefix(our_interface.size());
  std::string reason = text(told.parameters, "reason");
  if (name == "InvalidConfiguration") {
    return {ending::usage, fmt::format("{}: the configuration is not valid\n{}", asked.name,
                                       fmt::join(lines(told.parameters, "problems"), "\n"))};
  }
  if (name == "NotAllowed") return {ending::refused, fmt::format("{}: not allowed: {}", asked.name, reason)};
  if (name == "Refused") return {ending::refused, fmt::format("{}: refused: {}", asked.name, reason)};
  return {ending::refused, fmt::format("{}: {}: {}", asked.name, printable(name, 64), reason)};
}

namespace {

// One call on a connection of its own, up to its first reply.
struct conversation {
  connection link;
  varlink::reply first;
};
result<conversation> converse(supervisor const& with, varlink::call const& what, instant deadline) {
  auto link = connection::open(with.path, deadline);
  if (!link) return failure(std::move(link.error()));
  if (auto sent = link->send(what, deadline); !sent) return failure(std::move(sent.error()));
  auto told = link->receive(deadline);
  if (!told) return failure(std::move(told.error()));
  return conversation{std::move(*link), std::move(*told)};
}

// The same, again when it was cut off although it asks for nothing to be done: in a crowd of clients places
// are short for a moment.
outcome<conversation> converse_patiently(supervisor const& with, varlink::call what, instant deadline) {
  constexpr int tries = 6;
  constexpr duration first_pause{20};
  constexpr std::array<std::string_view, 4> harmless{"Status", "Plan", "History", "Watch"};
  bool may_repeat = std::ranges::find(harmless, what.method) != harmless.end();
  what.method.insert(0, our_interface);
  for (int i = 0;; ++i) {
    auto had = converse(with, what, deadline);
    if (had && !had->first.error.empty()) return std::unexpected(trouble_with(with, had->first));
    if (had) return std::move(*had);
    if (!may_repeat || !is(had.error(), std::errc::not_connected) || i + 1 == tries) {
      return std::unexpected(trouble_with(with, had.error()));
    }
    std::this_thread::sleep_for(first_pause * (1 << i));
  }
}

}  // namespace

outcome<json> ask(supervisor const& asked, std::string_view method, json parameters, duration patience) {
  varlink::call what{.method = std::string(method), .parameters = std::move(parameters)};
  auto had = converse_patiently(asked, std::move(what), now() + patience);
  if (!had) return std::unexpected(std::move(had.error()));
  return std::move(had->first.parameters);
}

outcome<connection> begin_watch(supervisor const& asked, instant deadline) {
  // The first reply says that the supervisor has taken note of us: what happens next cannot be missed.
  auto had = converse_patiently(asked, {.method = "Watch", .more = true},
                                std::min(deadline, now() + answer_patience));
  if (!had) return std::unexpected(std::move(had.error()));
  return std::move(had->link);
}

}  // namespace handoff::cli
