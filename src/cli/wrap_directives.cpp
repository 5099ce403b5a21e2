// What a service runs with: each directive to the configuration, to the drop-in, or left in the unit.
#include "wrap_decisions.hpp"

#include <cli/wrap_words.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

namespace handoff::cli {

namespace {

constexpr duration patient = std::chrono::hours(1);  // in place of for ever
constexpr std::uint16_t first_free_port = 1024;

constexpr std::string_view tight = "handoffd has it, and what it starts inherits it";

// Variables that only handoffd itself may set.
bool is_ours(std::string_view name) {
  constexpr std::array reserved{"FDSTORE",       "LISTEN_FDS",    "LISTEN_FDNAMES", "LISTEN_PID",
                                "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
  return name.starts_with("HANDOFF_") || std::ranges::find(reserved, name) != reserved.end();
}

std::string in_shell(unit_command const& command, command_line const& words) {
  std::string line;
  for (auto const& word : words) line += (line.empty() ? "" : " ") + shell_word(word);
  return command.may_fail ? "{ " + line + " || true; }" : line;
}

// Makes directories as tmpfiles.d(5) does: through no link of whoever owns one of those above, and in the
// place of none. Who would follow it, as root, gives that user what it leads to.
std::string make_directories(std::vector<unit_directory> const& all, std::string const& user,
                             std::string const& group) {
  std::vector<std::string> words{"/bin/sh", "-c", "printf '%s\\n' \"$@\" | systemd-tmpfiles --create -",
                                 "sh"};
  for (auto const& d : all)
    words.push_back(fmt::format("d {} {:04o} {} {}", unit_word(d.path), d.mode, unit_word(user),
                                group.empty() ? "-" : unit_word(group)));
  return "ExecStartPre=+" + exec_line(words);
}

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> heads) {
  return std::ranges::any_of(heads, [&](auto head) { return name.starts_with(head); });
}

// Why a directive that needs nothing may stay.
std::string why_kept(std::string_view name) {
  if (starts_with_any(name, {"Memory", "CPUQuota", "CPUWeight", "Tasks", "IO", "Block", "Slice"}))
    return "counts handoffd and all generations together: during an upgrade there are two";
  if (starts_with_any(
          name, {"Protect", "Private", "Restrict", "SystemCall", "Capability", "Read", "Inaccessible", "Exec",
                 "Bind", "No", "Lock", "Device", "IPAddress", "Socket", "Temporary"}))
    return "holds for handoffd and for what it starts";
  if (starts_with_any(name, {"Standard", "Syslog", "Log"}))
    return "of handoffd's log, which has the service's lines";
  return std::string(tight);
}

}  // namespace

// handoffd runs as root: it opens ports, steers, and becomes each service's user only for its processes.
void wrapper::take_identity() {
  service_.user = unit_.user;
  service_.group = unit_.group;
  service_.supplementary_groups = unit_.supplementary_groups;
  if (service_.user.empty() && !service_.supplementary_groups.empty()) service_.user = "root";
  for (auto const* name : {"User", "Group", "SupplementaryGroups"}) {
    if (written_value(name).empty()) continue;
    tell(fate::carried, name, "of the service; handoffd itself runs as root");
    made_.lines.push_back(std::string(name) + "=");
  }
  std::istringstream words(written_value("AmbientCapabilities"));
  bool negative = false;
  for (std::string word; words >> word;) {
    if (word.ends_with(';')) word.pop_back();
    negative |= word.starts_with('~');
    service_.ambient_capabilities.push_back(std::move(word));
  }
  bool root = service_.user.empty() || service_.user == "root" || service_.user == "0";
  if (negative || root) service_.ambient_capabilities.clear();
  if (negative)
    tell(fate::refused, "AmbientCapabilities", "name those that it has, not those that it has not");
  else
    tell(root ? fate::dropped : fate::carried, "AmbientCapabilities",
         root ? "root has them" : "the service has them; to open its ports it does not need any");
  if (unit_.writes("AmbientCapabilities")) made_.lines.emplace_back("AmbientCapabilities=");
  tell(fate::dropped, "PAMName", "handoffd opens no session");
  if (unit_.writes("PAMName")) made_.lines.emplace_back("PAMName=");
}

void wrapper::take_environment() {
  std::vector<std::string> left;
  variables own = unit_.environment;
  for (auto const& [name, value] : own)
    if (is_ours(name)) left.push_back(name);
  std::erase_if(own, [](auto const& v) { return is_ours(v.first); });
  service_.environment.insert(service_.environment.begin(), own.begin(), own.end());
  tell(fate::carried, "Environment", "the service gets nothing of handoffd's own");
  if (!left.empty()) note(fmt::format("{}: handoffd sets that itself", fmt::join(left, ", ")));
  for (auto const& file : unit_.environment_files) {
    if (file.find_first_of("*?[") != file.npos)
      say(fate::refused, "EnvironmentFile", file, "handoffd reads files by name, not by pattern");
  }
  service_.environment_files = unit_.environment_files;
  tell(fate::carried, "EnvironmentFile", "read anew for each generation");
  service_.pass_environment = unit_.pass_environment;
  std::erase_if(service_.pass_environment, is_ours);
  tell(fate::carried, "PassEnvironment", "handoffd passes them on");
  tell(fate::dropped, "UnsetEnvironment", "the service gets only what its configuration names");

  std::string const& directory = unit_.working_directory;
  auto at = directory.find('/');
  if (directory == "~" || directory == "!~") {
    say(fate::refused, "WorkingDirectory", "~", "name the directory");
  } else if (at != directory.npos) {
    service_.working_directory = directory.substr(at);
    tell(fate::carried, "WorkingDirectory", "links in it are followed once for each generation");
    made_.lines.emplace_back("WorkingDirectory=");
  }
}

// Under another user than root systemd would give these directories to root, with all that is in them: so
// they are made for the service instead.
void wrapper::take_directories() {
  constexpr std::array names{"RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory",
                             "ConfigurationDirectory"};
  auto told = directory_variables(unit_.directories);
  for (auto const& variable : told) service_.environment.insert(service_.environment.begin(), variable);
  bool root = unit_.user.empty() || unit_.user == "root";
  for (auto const* name : names) {
    if (root) {
      tell(fate::kept, name, "and the variable that names it is carried");
    } else if (unit_.writes(name)) {
      if (written_value(name).find(':') != std::string::npos)
        note(fmt::format("{}={}: the links behind ':' are not made any more", name, written_value(name)));
      tell(fate::changed, name, "made for the service's user as before; systemd would give it to root");
      made_.lines.push_back(std::string(name) + "=");
    }
  }
  if (!root) give_directories();
  tell(fate::dropped, "RuntimeDirectoryPreserve", "they stay: /run/handoff is shared with other services");
  for (auto const* name : {"LoadCredential", "LoadCredentialEncrypted", "SetCredential",
                           "SetCredentialEncrypted", "ImportCredential"}) {
    if (root && unit_.writes(name) && !is_told(name)) service_.pass_environment = {"CREDENTIALS_DIRECTORY"};
    tell(root ? fate::kept : fate::refused, name,
         root ? "and the variable that names their directory is passed on"
              : "systemd would show them to handoffd, but not to the service's user");
  }
}

void wrapper::give_directories() {
  auto all = unit_.directories;
  std::erase_if(all, [](auto const& d) { return d.variable == "CONFIGURATION_DIRECTORY"; });  // root's anyway
  if (all.empty()) return;
  made_.lines.push_back(
      make_directories(all, unit_.user, unit_.group.empty() ? of_.login_group : unit_.group));
  // What stands in one of them is writable with it. By its own name it could be a link to somewhere else.
  auto is_below_another = [&](unit_directory const& d) {
    return std::ranges::any_of(all, [&](auto const& other) { return d.path.starts_with(other.path + "/"); });
  };
  for (auto const& d : all)
    if (!is_below_another(d)) made_.lines.push_back("ReadWritePaths=" + unit_word("-" + d.path));
}

void wrapper::take_hook(hook at, std::string const& directive, std::vector<unit_command> const& commands) {
  if (commands.empty()) return;
  hook_settings made{.at = at};
  auto const& user = service_.user;
  bool as_root = std::ranges::any_of(commands, &unit_command::as_root);
  bool all_as_root = std::ranges::all_of(commands, &unit_command::as_root);
  if (as_root && !all_as_root && !user.empty() && user != "root" && user != "0")
    return say(
        fate::refused, directive, written_value(directive),
        fmt::format("some of them are root's (\"+\") and others user {0}'s, but a hook is one user's: "
                    "begin each with \"+\", and those that are {0}'s with \"+/usr/sbin/runuser -u {0} --\"",
                    user));
  if (as_root && !user.empty()) made.user = "root";
  if (commands.size() == 1 && !commands[0].may_fail) {
    made.command = expanded(commands[0]);
  } else {
    std::string script;
    for (auto const& c : commands) script += (script.empty() ? "" : " && ") + in_shell(c, expanded(c));
    made.command = {"/bin/sh", "-c", script};
  }
  // A hook has no listeners, and is not to look for them.
  command_line unset{"/usr/bin/env"};
  for (auto const& [name, value] : service_.environment)
    if (value.find("{fd:") != value.npos) unset.push_back("--unset=" + name);
  if (unset.size() > 1) made.command.insert(made.command.begin(), unset.begin(), unset.end());
  if (auto limit = unit_.start_timeout; limit && *limit > duration(0)) made.timeout = *limit;
  made_.configuration.hooks.push_back(made);
  tell(fate::carried, directive,
       fmt::format("the {} hook of each upgrade{}", to_string(at), as_root ? ", as root" : ""));
}

void wrapper::take_commands_around() {
  auto before = unit_.start_pre, after = unit_.start_post;
  if (is_on("PermissionsStartOnly"))
    for (auto* commands : {&before, &after})
      for (auto& c : *commands) c.as_root = true;
  tell(fate::carried, "PermissionsStartOnly", "the commands around the start are root's, if it is on");
  take_hook(hook::preflight, "ExecStartPre", before);
  take_hook(hook::ready, "ExecStartPost", after);
  tell(fate::changed, "ExecReload", "a reload is an upgrade, and fails when the upgrade failed");
  tell(fate::dropped, "ExecStop", "handoffd asks each generation to leave by a signal");
  tell(unit_.user.empty() ? fate::kept : fate::dropped, "ExecStopPost",
       unit_.user.empty() ? "runs when handoffd has ended"
                          : "it would run as root: the drained hook may do it");
  if (!unit_.user.empty()) made_.lines.emplace_back("ExecStopPost=");
}

void wrapper::take_times() {
  auto& drain = service_.drain;
  service_.ready.timeout = unit_.start_timeout.value_or(patient);
  if (service_.ready.timeout == duration(0)) service_.ready.timeout = patient;
  service_.ready.extend_max = std::max(service_.ready.extend_max, service_.ready.timeout);
  tell(fate::carried, "TimeoutStartSec", "until a generation has to be ready");
  tell(fate::carried, "TimeoutSec", "until a generation has to be ready, and how long it may leave");

  bool known = recipe_ != nullptr && recipe_->drain_signal != 0;
  drain.signal = known ? recipe_->drain_signal : unit_.kill_signal;
  tell(fate::carried, "KillSignal",
       known ? "but this service leaves gracefully by another one" : "asks a generation to leave");
  duration least = recipe_ != nullptr && recipe_->drain > duration(0) ? recipe_->drain : drain.timeout;
  drain.timeout = std::max(unit_.stop_timeout.value_or(patient), least);
  if (!unit_.writes("TimeoutStopSec") && !unit_.writes("TimeoutSec")) drain.timeout = least;
  tell(fate::carried, "TimeoutStopSec",
       fmt::format("how long clients of an old generation may take, but at least {}", spell(least)));
  made_.lines.emplace_back("KillSignal=SIGTERM");
  tell(fate::changed, "KillMode", "systemd ends handoffd alone, and what that leaves behind after it");
  for (auto const* line : {"SendSIGHUP=no", "SendSIGKILL=yes"}) {
    std::string name(line, std::string_view(line).find('='));
    if (unit_.writes(name)) made_.lines.emplace_back(line);
    tell(fate::dropped, name, "what is left of a generation is killed in any case");
  }
}

void wrapper::take_restarts() {
  auto& restart = made_.configuration.restart;
  if (unit_.writes("RestartSec")) {
    restart.backoff_min = std::max(unit_.restart_pause, duration(1));
    restart.backoff_max = std::max(restart.backoff_max, restart.backoff_min);
  }
  tell(fate::carried, "RestartSec", "the shortest pause before a restart");
  std::string value = written_value("Restart");
  tell(fate::changed, "Restart",
       value == "always" ? "of handoffd; it restarts the service by itself"
                         : "handoffd restarts the service however it ended");
  for (auto const* name : {"RestartPreventExitStatus", "RestartForceExitStatus", "SuccessExitStatus"}) {
    if (unit_.writes(name)) made_.lines.push_back(std::string(name) + "=");
    tell(fate::dropped, name, "how the service ends does not end the unit");
  }
  tell(fate::dropped, "RemainAfterExit", "the unit is active as long as handoffd runs");
  if (unit_.writes("RemainAfterExit")) made_.lines.emplace_back("RemainAfterExit=no");
  if (service_.ready.when == readiness::notify) service_.watchdog = unit_.watchdog;
  tell(unit_.watchdog ? fate::carried : fate::dropped, "WatchdogSec",
       "of each instance; the unit's own is handoffd's");
  tell(fate::changed, "NotifyAccess", "the service tells handoffd, handoffd tells systemd");
  service_.fd_store_max = std::min(unit_.stored_descriptors, limit::stored_descriptors);
  tell(fate::carried, "FileDescriptorStoreMax", "handoffd is the store of its service");
  tell(fate::changed, "Delegate", "each instance gets a cgroup of its own");
  tell(fate::changed, "OOMPolicy", "a service that ran out of memory is restarted, not the unit");
}

// handoffd needs a little more than the service: what is allowed is added to, never taken away.
void wrapper::open_sandbox() {
  std::vector<std::string> needed;
  auto need = [&](int capability, char const* name) {
    if ((unit_.bounding_set >> capability & 1) == 0) needed.emplace_back(name);
  };
  if (!service_.user.empty() || !service_.group.empty()) {
    need(CAP_SETUID, "CAP_SETUID");
    need(CAP_SETGID, "CAP_SETGID");
    need(CAP_KILL, "CAP_KILL");
    need(CAP_CHOWN, "CAP_CHOWN");  // of the pipe that the service writes to, and of its notify socket
    need(CAP_FOWNER, "CAP_FOWNER");
  }
  bool low = false;
  for (auto const& l : made_.configuration.listeners) {
    auto const* at = std::get_if<inet_address>(&l.address);
    low |= at != nullptr && at->port < first_free_port;
  }
  if (low) need(CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE");
  need(CAP_BPF, "CAP_BPF");
  need(CAP_PERFMON, "CAP_PERFMON");
  if (!needed.empty()) {
    made_.lines.push_back(fmt::format("CapabilityBoundingSet={}", fmt::join(needed, " ")));
    tell(fate::changed, "CapabilityBoundingSet",
         fmt::format("{} added: handoffd becomes the service's user, opens its ports and steers",
                     fmt::join(needed, " ")));
  }
  if (written_value("ProcSubset").ends_with("pid")) {
    made_.lines.emplace_back("ProcSubset=all");
    tell(fate::changed, "ProcSubset",
         "a handoffd that follows one that crashed looks in /proc/net for what listens");
  }
  for (auto const& [name, more] :
       {std::pair("SystemCallFilter", "@system-service bpf"),
        std::pair("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK")}) {
    if (written_value(name).empty()) continue;
    made_.lines.push_back(fmt::format("{}={}", name, more));
    tell(fate::changed, name, fmt::format("{} added, for handoffd", more));
  }
}

void wrapper::keep_the_rest() {
  for (auto const& d : unit_.written) {
    if (!is_told(d.name) && !written_value(d.name).empty()) tell(fate::kept, d.name, why_kept(d.name));
  }
  // As the reader of configurations gives them back: by name, each once. The last one counts.
  std::map<std::string, std::string> by_name;
  for (auto const& [name, value] : service_.environment) by_name.insert_or_assign(name, value);
  service_.environment.assign(by_name.begin(), by_name.end());
}

}  // namespace handoff::cli
