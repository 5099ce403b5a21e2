#include "descriptor_disposer.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace handoff {

namespace {

// Asked without synchronising: fstat() of a file on a network or in user space could wait for its server.
bool is_pipe(int fd) {
  struct statx file;
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &file) == 0 &&
         S_ISFIFO(file.stx_mode);
}

// Also true of one that the general reaper collected.
bool has_ended(pid_t child) {
  siginfo_t info{};
  int waited = ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return waited < 0 || info.si_pid == child;
}

// Closes every descriptor but those in `kept`, which is sorted. The child must not hold a listener or a
// client of ours open while it waits.
void close_all_but(std::vector<int> const& kept) {
  unsigned from = 0;
  for (int fd : kept) {
    auto next = static_cast<unsigned>(fd);
    if (next > from) ::close_range(from, next - 1, 0);
    from = next + 1;
  }
  ::close_range(from, UINT_MAX, 0);
}

// The child's whole life. Async-signal-safe calls only.
[[noreturn]] void hold_until(int parent_closed, std::vector<int> const& kept) {
  close_all_but(kept);
  char nothing;
  while (::read(parent_closed, &nothing, 1) < 0 && errno == EINTR) {}
  ::_exit(0);
}

}  // namespace

descriptor_disposer::descriptor_disposer(std::function<void(pid_t)> born) : born_(std::move(born)) {}

descriptor_disposer::~descriptor_disposer() { hand_over(); }

void descriptor_disposer::dispose(unique_fd descriptor) {
  std::vector<unique_fd> one;
  one.push_back(std::move(descriptor));
  dispose(std::move(one));
}

void descriptor_disposer::dispose(std::vector<unique_fd> descriptors) {
  for (auto& fd : descriptors) {
    if (fd && !is_pipe(fd.get())) waiting_.push_back(std::move(fd));
  }
  proceed();
}

void descriptor_disposer::proceed() {
  std::erase_if(children_, has_ended);
  if (children_.size() < most_children || waiting_.size() > most_waiting) hand_over();
}

void descriptor_disposer::hand_over() {
  if (waiting_.empty()) return;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return;
  unique_fd parent_closed(ends[0]);
  unique_fd closing(ends[1]);
  std::vector<int> kept;
  for (auto const& fd : waiting_) kept.push_back(fd.get());
  kept.push_back(parent_closed.get());
  std::sort(kept.begin(), kept.end());

  // A signal in the child would run the parent's handler, which writes to a pipe that both share.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  pid_t child = ::fork();
  if (child == 0) hold_until(parent_closed.get(), kept);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return;
  waiting_.clear();  // none of these is the last reference: the child goes only after `closing` is closed
  children_.push_back(child);
  born_(child);
}

}  // namespace handoff
