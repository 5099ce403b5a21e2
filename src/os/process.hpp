// One process, held by pidfd from birth to reap. Signals go through the pidfd, never through a number that
// may have been reused; the status is collected last.
//
// The same class serves children that we started and processes that we adopted from a predecessor.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace handoff {

// How a process ended, waitid(2).
struct exit_status {
  enum class kind : std::uint8_t {
    exited,       // `number` is the exit code
    killed,       // `number` is the signal
    uncollected,  // not our child: the kernel tells (6.15) once its parent has collected it; the pidfd hangs
                  // up
    unknown       // not our child, and the kernel does not tell
  };
  kind how = kind::unknown;
  int number = 0;
  bool dumped_core = false;
  bool operator==(exit_status const&) const = default;
};

// "exited 1", "killed by SIGSEGV (core dumped)", "ended, nobody knows how".
std::string to_string(exit_status const&);

class process {
 public:
  process() noexcept = default;
  process(pid_t pid, unique_fd pidfd) noexcept : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid() const noexcept { return pid_; }
  // Becomes readable when the process has ended.
  int pidfd() const noexcept { return pidfd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(pidfd_); }

  // When it began, as start_time() tells; 0 once it was gone before anybody asked.
  std::uint64_t started() const;

  // Success also when it has ended and waits to be reaped; ESRCH after that.
  result<> signal(int number) const;

  // SIGKILL to the process and to its whole process group. Refused with ESRCH once it was reaped, because the
  // number may be somebody else's by then.
  result<> kill_group() const;

  // How it ended, or nothing when it has not. Leaves it unreaped. A process that ended under a tracer
  // (ptrace(2)) belongs to the tracer first: its pidfd is readable already, and there is nothing here until
  // the tracer lets go.
  result<std::optional<exit_status>> peek() const;

  // The same, and gives the pid back to the system. Afterwards the object is empty if it returned a status.
  result<std::optional<exit_status>> reap();

 private:
  result<std::optional<exit_status>> wait(int flags) const;
  pid_t pid_ = -1;
  unique_fd pidfd_;
  mutable std::uint64_t started_ = 0;  // 0: not asked yet
};

}  // namespace handoff
