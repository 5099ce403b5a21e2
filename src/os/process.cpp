#include "process.hpp"

#include <os/pidfd.hpp>
#include <os/process_tree.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cstring>

namespace handoff {

namespace {

// What linux/pidfd.h of 6.15 and later declares, as far as we use it: the exit of a process that is not our
// child.
struct pidfd_information {
  std::uint64_t mask = 0;
  std::uint64_t cgroup_id = 0;
  std::uint32_t ids[11] = {};
  std::int32_t wait_status = 0;
};
static_assert(sizeof(pidfd_information) == 64, "PIDFD_INFO_SIZE_VER0");
constexpr std::uint64_t information_exit = 1U << 3;                            // PIDFD_INFO_EXIT
constexpr unsigned long get_information = _IOWR(0xFF, 11, pidfd_information);  // PIDFD_GET_INFO

exit_status from_wait_status(int status) {
  if (WIFEXITED(status)) return {exit_status::kind::exited, WEXITSTATUS(status), false};
  return {exit_status::kind::killed, WTERMSIG(status), WCOREDUMP(status) != 0};
}

exit_status from_information(siginfo_t const& info) {
  if (info.si_code == CLD_EXITED) return {exit_status::kind::exited, info.si_status, false};
  return {exit_status::kind::killed, info.si_status, info.si_code == CLD_DUMPED};
}

// For a process that somebody else waits for.
result<std::optional<exit_status>> ending_of_stranger(int pidfd) {
  pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, 0) < 0) return os_failure("watching a process");
  if (ended.revents == 0) return std::nullopt;
  pidfd_information info;
  info.mask = information_exit;
  if (::ioctl(pidfd, get_information, &info) != 0) return exit_status{};
  if ((info.mask & information_exit) != 0) return from_wait_status(info.wait_status);
  bool const collected = (ended.revents & POLLHUP) != 0;
  return exit_status{collected ? exit_status::kind::unknown : exit_status::kind::uncollected};
}

std::string name_of_signal(int number) {
  if (char const* name = sigabbrev_np(number)) return std::string("SIG") + name;
  if (number >= SIGRTMIN && number <= SIGRTMAX) return "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
  return "signal " + std::to_string(number);
}

}  // namespace

std::string to_string(exit_status const& status) {
  switch (status.how) {
    case exit_status::kind::exited:
      return "exited " + std::to_string(status.number);
    case exit_status::kind::killed:
      return "killed by " + name_of_signal(status.number) + (status.dumped_core ? " (core dumped)" : "");
    case exit_status::kind::uncollected:
    case exit_status::kind::unknown:
      break;
  }
  return "ended, nobody knows how";
}

std::uint64_t process::started() const {
  if (started_ == 0) started_ = start_time(pid_);
  return started_;
}

result<> process::signal(int number) const {
  if (send_signal(pidfd_.get(), number) == 0) return {};
  return os_failure("sending signal " + std::to_string(number) + " to process " + std::to_string(pid_));
}

result<> process::kill_group() const {
  // The pidfd answers as long as nobody reaped the process; until then the group's number is its own.
  if (auto killed = signal(SIGKILL); !killed) return killed;
  // A launcher that has not begun its session yet leads no group: it was alone, and is dead now.
  if (::kill(-pid_, SIGKILL) == 0 || errno == ESRCH) return {};
  return os_failure("killing the process group of " + std::to_string(pid_));
}

result<std::optional<exit_status>> process::wait(int flags) const {
  siginfo_t info{};
  int waited = -1;
  do waited = ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG | flags);
  while (waited != 0 && errno == EINTR);
  if (waited != 0 && errno == ECHILD) return ending_of_stranger(pidfd_.get());
  if (waited != 0) return os_failure("waiting for process " + std::to_string(pid_));
  if (info.si_pid == 0) return std::nullopt;
  return from_information(info);
}

result<std::optional<exit_status>> process::peek() const { return wait(WNOWAIT); }

result<std::optional<exit_status>> process::reap() {
  auto status = wait(0);
  if (status && *status) {
    pidfd_.reset();
    pid_ = -1;
  }
  return status;
}

}  // namespace handoff
