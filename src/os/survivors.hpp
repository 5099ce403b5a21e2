// Back from the processes that still hold them: sockets (pidfd_getfd(2), Linux 5.6), and pipes, which are
// opened anew.
#pragma once

#include <os/inheritance.hpp>

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace handoff {

// A pidfd of the process that began then (start_time()); empty when it is gone, or not for us to hold. Fails
// when that cannot be told now.
result<unique_fd> hold_process(pid_t, std::uint64_t started);

// Takes copies of those of the process's sockets whose cookies are wanted and whose names are not there yet.
// Does nothing when the process is not the one that began then (start_time()). False when we may not, fails
// when we cannot now: whoever goes on without a socket that is still served would share its clients with
// nobody.
result<bool> take_back_sockets(pid_t, std::uint64_t started,
                               std::map<std::uint64_t, std::string> const& wanted,
                               inherited_descriptors& into);

// Which pipe it is, for as long as it is open.
struct pipe_number {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(pipe_number const&) const = default;
};
result<pipe_number> number_of_pipe(int fd);  // nothing but 0: it is no pipe

// The read end of that pipe, through the standard output or error of one of these processes. Empty when none
// has it there any more: nothing is opened then, since a service may put there what only we may read. Fails
// when that cannot be told now.
result<unique_fd> take_back_output(std::span<pid_t const> writers, pipe_number const&);

}  // namespace handoff
