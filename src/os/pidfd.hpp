// The pidfd calls. glibc 2.36 declares its wrappers without C linkage, so C++ cannot link them.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace handoff {

// pidfd_open(2): close-on-exec; -1 and errno on failure.
inline int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

// pidfd_send_signal(2): 0, or -1 and errno.
inline int send_signal(int pidfd, int number) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0));
}

// pidfd_getfd(2): a close-on-exec copy of a descriptor of that process; -1 and errno on failure.
inline int copy_descriptor(int pidfd, int number) {
  return static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, number, 0));
}

}  // namespace handoff
