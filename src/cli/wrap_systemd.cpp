#include "wrap_systemd.hpp"

#include <base/text.hpp>
#include <base/unique_fd.hpp>
#include <os/file.hpp>
#include <wire/environment_file.hpp>

#include <cli/wrap_sockets.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace handoff::cli {

namespace {

constexpr std::size_t most_output = 4 << 20;  // of a tool
constexpr std::size_t most_file = 1 << 20;    // of a unit or an environment file

std::string read_all(int fd) {
  std::string text(most_output, '\0');
  ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return text;
}

// What a program wrote; the error is its own word for what went wrong.
result<std::string> output_of(std::vector<std::string> words) {
  auto doing = fmt::format("{}", fmt::join(words, " "));
  unique_fd said(::memfd_create("output", MFD_CLOEXEC)), complaint(::memfd_create("complaint", MFD_CLOEXEC));
  if (!said || !complaint) return os_failure("memfd_create");
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, said.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, complaint.get(), STDERR_FILENO);
  pid_t pid = -1;
  int problem = ::posix_spawnp(&pid, arguments[0], &files, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (problem != 0) return os_failure("starting " + doing, problem);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return os_failure("waiting for " + doing);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return read_all(said.get());
  std::string why = printable(read_all(complaint.get()), 1000);
  return plain_failure(fmt::format("{}: {}", doing, why.empty() ? "it failed" : why));
}

result<json> call(std::string const& path, std::vector<std::string> const& what) {
  std::vector<std::string> words{"busctl", "--system", "--json=short", "call", "org.freedesktop.systemd1",
                                 path};
  words.insert(words.end(), what.begin(), what.end());
  auto output = output_of(std::move(words));
  if (!output) return std::unexpected(output.error());
  json reply = json::parse(*output, nullptr, false);
  json const& data = member(reply, "data");
  if (!data.is_array() || data.empty()) return plain_failure("busctl answered something else");
  return data[0];
}

result<json> properties_of(std::string const& unit) {
  auto path = call("/org/freedesktop/systemd1", {"org.freedesktop.systemd1.Manager", "LoadUnit", "s", unit});
  if (!path) return std::unexpected(path.error());
  if (!path->is_string()) return plain_failure("busctl answered something else");
  return call(path->get<std::string>(), {"org.freedesktop.DBus.Properties", "GetAll", "s", ""});
}

// "Stream" of ListenStream=, as org.freedesktop.systemd1(5) tells it.
std::optional<socket_type> type_of(std::string_view kind) {
  if (kind == "Stream") return socket_type::stream;
  if (kind == "Datagram") return socket_type::datagram;
  if (kind == "SequentialPacket") return socket_type::seqpacket;
  return std::nullopt;
}

result<listener_settings> socket_listener(std::string const& unit) {
  auto properties = properties_of(unit);
  if (!properties) return std::unexpected(properties.error());
  auto data = [&](char const* name) -> json const& { return member(member(*properties, name), "data"); };
  if (data("Accept") == true) return plain_failure(unit + ": Accept=yes: a process for each connection");
  json const& sockets = data("Listen");
  // Their names are how handoffd tells them apart, and all of one unit have the same.
  if (!sockets.is_array() || sockets.size() != 1 || !sockets[0].is_array() || sockets[0].empty() ||
      !sockets[0][0].is_string())
    return plain_failure(unit + ": expected one socket; several of one unit have the same name");
  auto type = type_of(sockets[0][0].get<std::string>());
  if (!type) return plain_failure(unit + ": it is no socket that a service listens at");
  std::string name = raw_text(member(*properties, "FileDescriptorName"), "data");
  return listener_settings{name.empty() ? unit : name, systemd_address{}, *type, {}};
}

// What an EnvironmentFile= says now, for commands that name its variables.
variables read_environment_files(std::vector<std::string> const& files) {
  variables all;
  for (auto path : files) {
    if (path.starts_with('-')) path.erase(0, 1);
    auto text = read_file(path, most_file);
    auto read = text ? read_environment_file(*text) : std::unexpected(text.error());
    if (read) all.insert(all.end(), read->begin(), read->end());
  }
  return all;
}

std::string login_group_of(std::string const& user) {
  auto const* account = user.empty() ? nullptr : ::getpwnam(user.c_str());
  return account == nullptr ? std::string() : std::to_string(account->pw_gid);
}

}  // namespace

result<> systemctl(std::vector<std::string> const& words) {
  std::vector<std::string> all{"systemctl"};
  all.insert(all.end(), words.begin(), words.end());
  if (auto output = output_of(std::move(all)); !output) return std::unexpected(output.error());
  return {};
}

unit_run run_of(std::string const& unit) {
  auto properties = properties_of(unit);
  if (!properties) return {};
  json const& invocation = member(member(*properties, "InvocationID"), "data");
  auto count = whole(member(*properties, "NRestarts"), "data");
  return {invocation.dump(), static_cast<std::uint64_t>(count.value_or(0))};
}

result<surroundings> surroundings_of(std::string const& unit, bool look_at_sockets,
                                     std::vector<std::string>& notes) {
  auto properties = properties_of(unit);
  if (!properties) return std::unexpected(std::move(properties.error()).during(unit));
  auto facts = read_unit(*properties);
  if (!facts) return std::unexpected(std::move(facts.error()).during(unit));
  surroundings of{.unit = std::move(*facts)};
  for (auto const& path : of.unit.files) {
    auto text = read_file(path, most_file);
    if (!text) return std::unexpected(text.error());
    for (auto& line : directives_of(*text)) of.unit.written.push_back(std::move(line));
  }
  of.login_group = login_group_of(of.unit.user);
  of.from_files = read_environment_files(of.unit.environment_files);
  of.file = [](std::string const& path) -> std::optional<std::string> {
    auto text = read_file(path, most_file);
    return text ? std::optional(std::move(*text)) : std::nullopt;
  };
  for (auto const& socket : of.unit.sockets) {
    auto listener = socket_listener(socket);
    if (!listener) return std::unexpected(listener.error());
    of.socket_listeners.push_back(std::move(*listener));
  }
  if (!look_at_sockets || !of.socket_listeners.empty() || of.unit.cgroup.empty()) return of;
  auto found = sockets_of_cgroup(of.unit.cgroup);
  if (!found) {
    notes.push_back(found.error().message());
    return of;
  }
  of.listeners = std::move(found->listeners);
  for (auto const& address : found->datagram)
    notes.push_back(address + " is open too; if clients know it, name all addresses with --listen");
  return of;
}

}  // namespace handoff::cli
