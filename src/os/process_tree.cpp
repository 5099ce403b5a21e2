#include "process_tree.hpp"

#include <base/unique_fd.hpp>
#include <os/pidfd.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>

namespace handoff {

namespace {

constexpr std::size_t most_environment = 8
                                         << 20;  // the kernel starts nothing with more than 6 MiB, execve(2)
constexpr std::size_t most_children = 1 << 20;   // bytes of the list: beyond pid_max of a default kernel

// A file of /proc, at most `most` bytes of it.
result<std::string> read_proc(std::string const& path, std::size_t most) {
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return os_failure("opening " + path);
  std::string text;
  std::array<char, 16384> piece;
  while (text.size() < most) {
    ssize_t size = ::read(file.get(), piece.data(), std::min(piece.size(), most - text.size()));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return os_failure("reading " + path);
    if (size == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(size));
  }
  return text;
}

// "12 345 6 " as numbers; stops at anything else.
void append_pids(std::vector<pid_t>& pids, std::string_view text) {
  while (!text.empty()) {
    pid_t pid = 0;
    auto [end, failed] = std::from_chars(text.begin(), text.end(), pid);
    if (failed != std::errc{}) return;
    pids.push_back(pid);
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
}

// /proc/PID/stat from the state on, which follows the name: that is in parentheses and may hold anything.
std::string stat_behind_name(pid_t pid) {
  auto stat = read_proc("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat) return {};
  std::size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos || stat->size() < name_end + 4) return {};
  return stat->substr(name_end + 2);  // ") "
}

// Whether it has begun to exit: it carries no variables any more, and its children may not be ours yet.
bool is_ending(pid_t pid) {
  constexpr unsigned exiting = 0x4;  // PF_EXITING, linux/sched.h; the field "flags" of proc_pid_stat(5)
  std::string const text = stat_behind_name(pid);
  if (text.empty() || text.front() == 'Z' || text.front() == 'X') return true;
  std::size_t at = 0;
  for (int field = 3; field < 9; ++field) at = text.find(' ', at) + 1;
  unsigned flags = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), flags);
  return (flags & exiting) != 0;
}

bool is_among(std::span<pid_t const> pids, pid_t pid) { return std::ranges::find(pids, pid) != pids.end(); }

// With a zero byte before each variable.
result<std::string> environment_of(pid_t pid) {
  auto environment = read_proc("/proc/" + std::to_string(pid) + "/environ", most_environment);
  if (environment) environment->insert(0, 1, '\0');
  return environment;
}

bool has_variable(std::string const& environment, std::string const& variable) {
  return environment.find('\0' + variable + '\0') != std::string::npos;
}

template <class Predicate>
result<std::vector<pid_t>> processes_where(std::span<pid_t const> known, Predicate is_wanted) {
  std::vector<pid_t> found;
  std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir("/proc"), ::closedir);
  if (!all) return os_failure("opening /proc");
  while (dirent const* entry = ::readdir(all.get())) {
    std::string_view name = entry->d_name;
    pid_t pid = 0;
    auto [end, failed] = std::from_chars(name.begin(), name.end(), pid);
    if (failed != std::errc{} || end != name.end() || is_among(known, pid)) continue;
    if (is_wanted(pid)) found.push_back(pid);
  }
  return found;
}

// Of all its threads: a child belongs to the one that started it, an orphan to the first one.
result<std::vector<pid_t>> listed_children(std::string const& process) {
  std::string const place = process + "/task";
  std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir(place.c_str()), ::closedir);
  if (!tasks) return os_failure("opening " + place);
  std::vector<pid_t> children;
  while (dirent const* task = ::readdir(tasks.get())) {
    if (task->d_name[0] == '.') continue;
    auto list = read_proc(place + "/" + task->d_name + "/children", most_children);
    if (list)
      append_pids(children, *list);
    else if (list.error().code.value() != ENOENT)
      return failure(std::move(list.error()));
  }
  return children;
}

// The number is safe: held by the pidfd, it was looked at again after that.
bool kill_if_orphan(pid_t pid, std::span<std::string const> variables) {
  unique_fd held(open_pidfd(pid));
  if (!held || parent_of(pid) != ::getpid() || !carries_variables(pid, variables)) return false;
  return send_signal(held.get(), SIGKILL) == 0;
}

}  // namespace

pid_t parent_of(pid_t pid) {
  std::string const text = stat_behind_name(pid);
  pid_t parent = -1;
  if (!text.empty()) std::from_chars(text.data() + 2, text.data() + text.size(), parent);  // "S "
  return parent;
}

std::optional<uid_t> real_user_of(pid_t pid) {
  constexpr std::string_view field = "\nUid:\t";
  auto status = read_proc("/proc/" + std::to_string(pid) + "/status", 16384);
  std::size_t const at = status ? status->find(field) : std::string::npos;
  uid_t user = 0;
  if (at == std::string::npos) return {};
  auto const* first = status->data() + at + field.size();
  if (std::from_chars(first, status->data() + status->size(), user).ec != std::errc{}) return {};
  return user;
}

result<> become_child_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL) == 0) return {};
  return os_failure("becoming the child subreaper");
}

std::uint64_t start_time(pid_t pid) {
  std::string const text = stat_behind_name(pid);
  std::size_t at = 0;
  for (int field = 3; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  std::uint64_t ticks = 0;
  if (!text.empty() && at != std::string::npos)
    std::from_chars(text.data() + at + 1, text.data() + text.size(), ticks);
  return ticks;
}

result<std::vector<pid_t>> direct_children() {
  auto children = listed_children("/proc/self");
  if (!children) return failure(std::move(children.error()).during("listing our children"));
  return children;
}

std::vector<pid_t> children_of(pid_t pid) {
  return listed_children("/proc/" + std::to_string(pid)).value_or(std::vector<pid_t>{});
}

bool carries_variables(pid_t pid, std::span<std::string const> variables) {
  auto environment = environment_of(pid);
  if (!environment) return false;
  return std::ranges::all_of(variables,
                             [&](std::string const& one) { return has_variable(*environment, one); });
}

std::string rest_of_variable(pid_t pid, std::string const& beginning) {
  auto environment = environment_of(pid);
  std::size_t at = environment ? environment->find('\0' + beginning) : std::string::npos;
  if (at == std::string::npos) return {};
  at += 1 + beginning.size();
  return environment->substr(at, environment->find('\0', at) - at);
}

result<std::size_t> kill_orphans(std::span<pid_t const> known, std::span<std::string const> variables) {
  auto children = direct_children();
  if (!children) return failure(std::move(children.error()).during("looking for orphans"));
  std::size_t killed = 0;
  for (pid_t child : *children) {
    if (!is_among(known, child) && kill_if_orphan(child, variables)) ++killed;
  }
  return killed;
}

result<std::vector<pid_t>> find_carriers_of(std::span<pid_t const> known, std::string const& beginning,
                                            std::span<std::string const> settled) {
  constexpr std::array not_ours{ENOENT, ESRCH, EACCES, EPERM};
  result<> looked;
  auto found = processes_where(known, [&](pid_t pid) {
    auto environment = environment_of(pid);
    if (!environment && std::ranges::find(not_ours, environment.error().code.value()) == not_ours.end())
      looked = std::unexpected(environment.error());
    if (!environment || environment->find('\0' + beginning) == std::string::npos) return false;
    return std::ranges::none_of(settled,
                                [&](std::string const& one) { return has_variable(*environment, one); });
  });
  if (found && !looked) return std::unexpected(std::move(looked.error()));
  return found;
}

std::size_t kill_carriers(std::span<pid_t const> known, std::span<std::string const> variables) {
  auto carriers = processes_where(known, [&](pid_t pid) { return carries_variables(pid, variables); });
  if (!carriers) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(*carriers, [&](pid_t pid) {
    unique_fd held(open_pidfd(pid));
    return held && carries_variables(pid, variables) && send_signal(held.get(), SIGKILL) == 0;
  }));
}

result<std::vector<pid_t>> find_members(std::span<pid_t const> known, std::span<pid_t const> sessions) {
  return processes_where(known, [&](pid_t pid) { return is_among(sessions, ::getsid(pid)); });
}

result<bool> is_an_orphan_ending(std::span<pid_t const> known) {
  auto children = direct_children();
  if (!children) return failure(std::move(children.error()).during("looking for orphans"));
  return std::ranges::any_of(*children,
                             [&](pid_t child) { return !is_among(known, child) && is_ending(child); });
}

result<std::size_t> reap_orphans(std::span<pid_t const> known) {
  auto children = direct_children();
  if (!children) return failure(std::move(children.error()).during("looking for orphans"));
  std::size_t reaped = 0;
  for (pid_t child : *children) {
    siginfo_t info{};
    if (is_among(known, child)) continue;
    if (::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG) == 0 && info.si_pid == child)
      ++reaped;
  }
  return reaped;
}

}  // namespace handoff
