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

pid_t parent_of(pid_t pid) {
  std::string const text = stat_behind_name(pid);
  pid_t parent = -1;
  if (!text.empty()) std::from_chars(text.data() + 2, text.data() + text.size(), parent);  // "S "
  return parent;
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

// The number is safe: held by the pidfd, it was looked at again after that.
bool kill_if_orphan(pid_t pid, std::span<std::string const> variables) {
  unique_fd held(open_pidfd(pid));
  if (!held || parent_of(pid) != ::getpid() || !carries_variables(pid, variables)) return false;
  return send_signal(held.get(), SIGKILL) == 0;
}

}  // namespace

result<> become_child_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL) == 0) return {};
  return os_failure("becoming the child subreaper");
}

result<std::vector<pid_t>> direct_children() {
  std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir("/proc/self/task"), ::closedir);
  if (!tasks) return os_failure("listing our children: opening /proc/self/task");
  std::vector<pid_t> children;
  // A child belongs to the thread that started it, an orphan to the first one.
  while (dirent const* task = ::readdir(tasks.get())) {
    if (task->d_name[0] == '.') continue;
    auto list = read_proc(std::string("/proc/self/task/") + task->d_name + "/children", most_children);
    if (list)
      append_pids(children, *list);
    else if (list.error().code.value() != ENOENT)
      return failure(std::move(list.error()).during("listing our children"));
  }
  return children;
}

bool carries_variables(pid_t pid, std::span<std::string const> variables) {
  auto environment = read_proc("/proc/" + std::to_string(pid) + "/environ", most_environment);
  if (!environment) return false;
  std::string const whole = '\0' + *environment;
  return std::ranges::all_of(variables, [&](std::string const& variable) {
    return whole.find('\0' + variable + '\0') != std::string::npos;
  });
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
