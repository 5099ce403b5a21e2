#include "wrap_recipes.hpp"

#include <algorithm>
#include <csignal>

namespace handoff::cli {

namespace {

using std::chrono::minutes;
using std::chrono::seconds;

std::vector<recipe> make_recipes() {
  return {
      {.program = "nginx",
       .how = passing::one_variable,
       .key = "NGINX",
       .said_with = "-g",
       .unsaid = "daemon on;",
       .said = "daemon off;",
       .non_blocking = true,
       .ready = readiness::exec,
       // It says nothing, but forks its workers only when its configuration was read and its logs are open.
       .ready_command = {"/bin/sh", "-c", "test -n \"$(cat /proc/$MAINPID/task/$MAINPID/children)\""},
       .drain_signal = SIGQUIT,
       .drain = minutes(10),
       .note =
           "a generation that leaves removes the pid file, also its successor's: nothing may count on it; "
           "`systemctl reload` makes nginx open its logs anew"},
      {.program = "haproxy",
       .how = passing::variable_each,
       .key = "_FD",
       .removed = {"-D", "-W"},
       .required = {"-Ws"},
       .file_option = "-f",
       .file_word = "fd@",
       .file_advice =
           "write `bind fd@${NAME_FD}` in place of each address that is a listener, or keep both: `.if "
           "defined(NAME_FD)`, that line, `.else`, the line of now, `.endif`",
       .unix_sockets = false,
       .ready = readiness::notify,
       .drain_signal = SIGUSR1,
       .drain = minutes(10),
       .note = "its soft stop waits for its clients; `option idle-close-on-response` is kind to idle ones"},
      {.program = "gunicorn",
       .how = passing::listen_fds,
       .removed = {"-D", "--daemon"},
       .ready = readiness::notify,
       .drain = seconds(35),
       .note = "it ignores --bind when it is passed sockets; with --preload it says READY only when the "
               "application could be loaded"},
      {.program = "uvicorn",
       .how = passing::option,
       .key = "--fd",
       .removed = {"--reload"},
       .removed_with_value = {"--host", "--port", "--uds"},
       .drain = seconds(60),
       .note = "on SIGTERM it cuts connections without a request under way; docs/recipes.md has a cure"},
  };
}

std::string_view file_name(std::string_view path) {
  auto slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

// What an interpreter runs: the module behind -m, or the first word that is no option.
std::string_view interpreted(std::span<std::string const> arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-m" && i + 1 < arguments.size()) return arguments[i + 1];
    if (!arguments[i].starts_with('-')) return file_name(arguments[i]);
  }
  return {};
}

bool contains(std::vector<std::string_view> const& all, std::string_view one) {
  return std::ranges::find(all, one) != all.end();
}

std::string without(std::string text, std::string_view part) {
  if (auto at = text.find(part); at != text.npos) text.erase(at, part.size());
  return text;
}

// Behind the option that carries it, which is added when it is not there.
void say(recipe const& r, command_line& words) {
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    if (words[i] != r.said_with) continue;
    std::string& value = words[i + 1];
    if (value.find(r.said) != value.npos) return;
    std::string rest = without(value, r.unsaid);
    rest.erase(0, rest.find_first_not_of(' '));
    value = std::string(r.said) + (rest.empty() ? "" : " " + rest);
    return;
  }
  words.emplace_back(r.said_with);
  words.emplace_back(r.said);
}

}  // namespace

std::span<recipe const> recipes() {
  static std::vector<recipe> const all = make_recipes();
  return all;
}

recipe const* find_recipe(std::span<std::string const> words) {
  if (words.empty()) return nullptr;
  std::string_view program = file_name(words[0]);
  if (program.starts_with("python")) program = interpreted(words.subspan(1));
  for (auto const& one : recipes())
    if (one.program == program) return &one;
  return nullptr;
}

command_line in_foreground(recipe const& r, command_line words) {
  command_line made;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view option = std::string_view(words[i]).substr(0, words[i].find('='));
    bool joined = option.size() < words[i].size();  // --port=8000
    if (i == 0 || (!contains(r.removed, words[i]) && !contains(r.removed_with_value, option)))
      made.push_back(words[i]);
    else if (contains(r.removed_with_value, option) && !joined)
      ++i;
  }
  for (auto word : r.required)
    if (std::ranges::find(made, word) == made.end()) made.insert(made.begin() + 1, std::string(word));
  if (!r.said_with.empty()) say(r, made);
  return made;
}

}  // namespace handoff::cli
