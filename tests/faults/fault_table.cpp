#include "fault_table.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

namespace faults {

namespace {

using enum only;

constexpr fault no_descriptor{EMFILE}, no_memory{ENOMEM}, no_space{ENOSPC}, busy{EAGAIN};
constexpr fault interrupted{EINTR, always, false};
constexpr fault would_block{EAGAIN, non_blocking, false};

#define CALL(name) SYS_##name, #name

std::vector<failing_call> const failing{
    {CALL(openat), {no_descriptor, no_memory, {ENOSPC, creating}, {EINTR, always, false}}},
    {CALL(openat2), {no_descriptor, no_memory}},
    {CALL(socket), {no_descriptor, no_memory}},
    {CALL(socketpair), {no_descriptor, no_memory}},
    {CALL(accept4), {no_descriptor, no_memory, interrupted, would_block}},
    {CALL(eventfd2), {no_descriptor, no_memory}},
    {CALL(signalfd4), {no_descriptor, no_memory}},
    {CALL(timerfd_create), {no_descriptor, no_memory}},
    {CALL(epoll_create1), {no_descriptor, no_memory}},
    {CALL(memfd_create), {no_descriptor, no_memory}},
    {CALL(pipe2), {no_descriptor, {ENFILE}}},
    {CALL(dup), {no_descriptor}},
    {CALL(fcntl), {{EMFILE, copying}}},
    {CALL(pidfd_open), {no_descriptor, no_memory}},
    {CALL(pidfd_getfd), {no_descriptor}},
    {CALL(inotify_init1), {no_descriptor, no_memory}},
    {CALL(inotify_add_watch), {no_space, no_memory}},
    {CALL(bpf), {no_descriptor, no_memory, busy}},
    {CALL(clone), {busy, no_memory}},
    {CALL(clone3), {busy, no_memory}},
    {CALL(execve), {no_memory, no_descriptor}},
    {CALL(execveat), {no_memory, no_descriptor}},
    {CALL(read), {{ENOMEM, on_files}, interrupted, would_block}},
    {CALL(pread64), {{ENOMEM, on_files}, interrupted}},
    {CALL(readv), {{ENOMEM, on_files}, interrupted, would_block}},
    {CALL(recvfrom), {interrupted, would_block, {ENOMEM}}},
    {CALL(recvmsg), {interrupted, would_block, {ENOMEM}}},
    {CALL(write), {{ENOSPC, on_files}, interrupted, would_block}},
    {CALL(pwrite64), {{ENOSPC, on_files}, interrupted}},
    {CALL(writev), {{ENOSPC, on_files}, interrupted, would_block}},
    {CALL(sendto), {no_memory, interrupted, {EAGAIN, non_blocking}}},
    {CALL(sendmsg), {no_memory, interrupted, {EAGAIN, non_blocking}}},
    {CALL(connect), {no_memory, interrupted, {EAGAIN, non_blocking}}},
    {CALL(bind), {no_memory, no_space}},
    {CALL(listen), {no_memory}},
    {CALL(setsockopt), {no_memory}},
    {CALL(getsockopt), {no_memory}},
    {CALL(getsockname), {{ENOBUFS}}},
    {CALL(getpeername), {{ENOBUFS}}},
    {CALL(epoll_ctl), {{ENOMEM, adding}, {ENOSPC, adding}}},
    {CALL(epoll_wait), {interrupted}},
    {CALL(epoll_pwait), {interrupted}},
    {CALL(poll), {no_memory, {EINTR, waiting, false}}},
    {CALL(ppoll), {no_memory, {EINTR, waiting, false}}},
    {CALL(flock), {{ENOLCK}, {EINTR, blocking, false}}},
    {CALL(mkdir), {no_space, no_memory}},
    {CALL(mkdirat), {no_space, no_memory}},
    {CALL(rmdir), {no_memory}},
    {CALL(unlink), {no_memory, no_space}},
    {CALL(unlinkat), {no_memory, no_space}},
    {CALL(rename), {no_memory, no_space}},
    {CALL(renameat), {no_memory, no_space}},
    {CALL(renameat2), {no_memory, no_space}},
    {CALL(readlink), {no_memory}},
    {CALL(readlinkat), {no_memory}},
    {CALL(stat), {no_memory}},
    {CALL(lstat), {no_memory}},
    {CALL(fstat), {no_memory}},
    {CALL(newfstatat), {no_memory}},
    {CALL(statx), {no_memory}},
    {CALL(statfs), {no_memory}},
    {CALL(fstatfs), {no_memory}},
    {CALL(access), {no_memory}},
    {CALL(faccessat), {no_memory}},
    {CALL(faccessat2), {no_memory}},
    {CALL(getdents64), {no_memory}},
    {CALL(chdir), {no_memory}},
    {CALL(getcwd), {no_memory}},
    {CALL(chmod), {no_memory, no_space}},
    {CALL(fchmod), {no_memory, no_space}},
    {CALL(fchmodat), {no_memory, no_space}},
    {CALL(chown), {no_memory, no_space}},
    {CALL(fchown), {no_memory, no_space}},
    {CALL(lchown), {no_memory, no_space}},
    {CALL(fchownat), {no_memory, no_space}},
    {CALL(ftruncate), {no_space, interrupted}},
    {CALL(fallocate), {no_space, interrupted}},
    {CALL(fsync), {no_space}},
    {CALL(fdatasync), {no_space}},
};

#undef CALL

constexpr char const* heap =
    "belongs to the allocator: a C++ program without memory ends, its successor adopts";
constexpr char const* keeps = "an error would keep the descriptor open, which the kernel never does";
constexpr char const* certain = "cannot fail for what we call it with";
constexpr char const* threads = "belongs to the C library";

exempt_call const exempt[] = {
    {SYS_brk, heap},
    {SYS_mmap, heap},
    {SYS_munmap, heap},
    {SYS_mremap, heap},
    {SYS_mprotect, heap},
    {SYS_madvise, heap},
    {SYS_close, keeps},
    {SYS_close_range, keeps},
    {SYS_dup2, certain},
    {SYS_dup3, certain},
    {SYS_lseek, certain},
    {SYS_ioctl, certain},
    {SYS_shutdown, certain},
    {SYS_umask, certain},
    {SYS_kcmp, "may be forbidden altogether, which a test of its own covers"},
    {SYS_kill, "fails only for who is gone"},
    {SYS_tgkill, "fails only for who is gone"},
    {SYS_pidfd_send_signal, "fails only for who is gone"},
    {SYS_waitid, "never waits here, so that nothing can interrupt it"},
    {SYS_wait4, "waits only for who was killed"},
    {SYS_prctl, certain},
    {SYS_arch_prctl, threads},
    {SYS_set_tid_address, threads},
    {SYS_set_robust_list, threads},
    {SYS_rseq, threads},
    {SYS_futex, threads},
    {SYS_prlimit64, certain},
    {SYS_sysinfo, certain},
    {SYS_uname, certain},
    {SYS_getrandom, certain},
    {SYS_sched_getaffinity, certain},
    {SYS_sched_yield, certain},
    {SYS_rt_sigaction, certain},
    {SYS_rt_sigprocmask, certain},
    {SYS_rt_sigreturn, certain},
    {SYS_sigaltstack, certain},
    {SYS_clock_gettime, certain},
    {SYS_clock_getres, certain},
    {SYS_clock_nanosleep, certain},
    {SYS_restart_syscall, certain},
    {SYS_gettid, certain},
    {SYS_getpid, certain},
    {SYS_getppid, certain},
    {SYS_getpgrp, certain},
    {SYS_getsid, certain},
    {SYS_setsid, certain},
    {SYS_getuid, certain},
    {SYS_geteuid, certain},
    {SYS_getgid, certain},
    {SYS_getegid, certain},
    {SYS_getgroups, certain},
    {SYS_exit, certain},
    {SYS_exit_group, certain},
};

std::string file_behind(pid_t who, int fd) {
  std::array<char, 256> name;
  std::string link = "/proc/" + std::to_string(who) + "/fd/" + std::to_string(fd);
  ssize_t length = ::readlink(link.c_str(), name.data(), name.size());
  return length > 0 ? std::string(name.data(), static_cast<std::size_t>(length)) : std::string();
}

// What is in memory can be read whatever memory is left, and takes some to be written.
bool is_file(std::string const& name, int call) {
  bool reads = call == SYS_read || call == SYS_pread64 || call == SYS_readv;
  return name.starts_with('/') && !(reads && name.starts_with("/memfd:"));
}

// The kernel looks for a descriptor that it watches already before it needs room for it.
bool is_new_to_epoll(pid_t who, std::uint64_t epoll, std::uint64_t fd) {
  std::ifstream information("/proc/" + std::to_string(who) + "/fdinfo/" + std::to_string(epoll));
  std::string word;
  while (information >> word)
    if (word == "tfd:" && information >> word && word == std::to_string(fd)) return false;
  return true;
}

bool is_non_blocking(pid_t who, int fd) {
  std::ifstream information("/proc/" + std::to_string(who) + "/fdinfo/" + std::to_string(fd));
  std::string word;
  while (information >> word)
    if (word == "flags:" && information >> word) return (std::stol(word, nullptr, 8) & O_NONBLOCK) != 0;
  return false;
}

bool never_waits(seccomp_data const& call, pid_t who) {
  auto const& a = call.args;
  bool sends = call.nr == SYS_sendto || call.nr == SYS_recvfrom;
  bool has_message = call.nr == SYS_sendmsg || call.nr == SYS_recvmsg;
  if (sends && (a[3] & MSG_DONTWAIT) != 0) return true;
  if (has_message && (a[2] & MSG_DONTWAIT) != 0) return true;
  return is_non_blocking(who, static_cast<int>(a[0]));
}

// libuv's, for signals. It is full when four thousand of them wait for the loop.
bool is_pipe_to_ourselves(seccomp_data const& call, pid_t who) {
  return call.nr == SYS_write && file_behind(who, static_cast<int>(call.args[0])).starts_with("pipe:");
}

bool holds(only when, seccomp_data const& call, pid_t who) {
  auto const& a = call.args;
  switch (when) {
    case always:
      return true;
    case creating:
      return (a[2] & O_CREAT) != 0;
    case copying:
      return a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC;
    case adding:
      return a[1] == EPOLL_CTL_ADD && is_new_to_epoll(who, a[0], a[2]);
    case on_files:
      return is_file(file_behind(who, static_cast<int>(a[0])), call.nr);
    case non_blocking:
      return never_waits(call, who) && !is_pipe_to_ourselves(call, who);
    case blocking:
      return !never_waits(call, who);
    case waiting:
      return call.nr != SYS_poll || a[2] != 0;
  }
  return false;
}

}  // namespace

std::span<failing_call const> failing_calls() { return failing; }
std::span<exempt_call const> exempt_calls() { return exempt; }

failing_call const* find_failing(int number) {
  auto found = std::ranges::find(failing, number, &failing_call::number);
  return found == failing.end() ? nullptr : &*found;
}

std::vector<fault> faults_of(failing_call const& of, seccomp_data const& call, pid_t who) {
  std::vector<fault> possible;
  for (auto const& f : of.faults)
    if (holds(f.when, call, who)) possible.push_back(f);
  return possible;
}

char const* name_of_error(int error) { return ::strerrorname_np(error); }

}  // namespace faults
