#include "launch.hpp"

#include <os/inheritance.hpp>
#include <os/launch_conversation.hpp>
#include <os/pidfd.hpp>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace handoff {

namespace {

namespace talk = launch_conversation;

// handoff-exec finds its channel at talk::channel, so our descriptor of the launcher must not lie there.
constexpr int lowest_launcher_descriptor = 10;

#ifndef MFD_NOEXEC_SEAL
constexpr unsigned MFD_NOEXEC_SEAL = 0x8U;  // linux/memfd.h since 6.3
#endif

// Hosts with vm.memfd_noexec=2 allow only memory that cannot be executed; kernels before 6.3 do not know the
// flag.
unique_fd create_memory() {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  unique_fd memory(::memfd_create("handoff-launch", flags | MFD_NOEXEC_SEAL));
  if (!memory && errno == EINVAL) memory = unique_fd(::memfd_create("handoff-launch", flags));
  return memory;
}

result<unique_fd> seal_in_memory(std::span<std::byte const> spec) {
  unique_fd memory = create_memory();
  if (!memory) return os_failure("creating memory for the launch spec");
  while (!spec.empty()) {
    ssize_t written = ::write(memory.get(), spec.data(), spec.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return os_failure("writing the launch spec");
    spec = spec.subspan(static_cast<std::size_t>(written));
  }
  constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(memory.get(), F_ADD_SEALS, seals) != 0) return os_failure("sealing the launch spec");
  return memory;
}

// Sends one message without waiting: the queue of a fresh socket holds a whole conversation.
template <class Payload>
result<> send_with(int channel, Payload const& payload, std::span<int const> descriptors) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(talk::batch_size * sizeof(int))> control{};
  iovec data{.iov_base = const_cast<Payload*>(&payload), .iov_len = sizeof payload};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  ssize_t sent = -1;
  do sent = ::sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent != static_cast<ssize_t>(sizeof payload)) return os_failure("passing descriptors to the launcher");
  return {};
}

result<> queue_conversation(int channel, int spec, launch_descriptors const& given) {
  talk::opening opening{.magic = talk::magic,
                        .version = talk::version,
                        .listeners = static_cast<std::uint32_t>(given.listeners.size()),
                        .special = 0};
  std::array<int, 1 + talk::most_special> first{spec};
  std::size_t count = 1;
  auto add = [&](int descriptor, std::uint32_t flag) {
    if (descriptor < 0) return;
    opening.special |= flag;
    first[count++] = descriptor;
  };
  add(given.executable, talk::has_executable);
  add(given.output, talk::has_output);
  add(given.cgroup, talk::has_cgroup);
  if (auto sent = send_with(channel, opening, std::span(first).first(count)); !sent) return sent;

  for (std::size_t index = 0; index < given.listeners.size();) {
    auto some = given.listeners.subspan(index, std::min(talk::batch_size, given.listeners.size() - index));
    talk::batch batch{.magic = talk::magic,
                      .first = static_cast<std::uint32_t>(index),
                      .count = static_cast<std::uint32_t>(some.size())};
    if (auto sent = send_with(channel, batch, some); !sent) return sent;
    index += some.size();
  }
  return {};
}

struct becoming {
  int launcher, its_end;
  int failed = 0;  // with this errno
};

// In a child that has our memory: system calls only.
int become_launcher(void* told) {
  static char name[] = "handoff-exec";
  static char* const arguments[] = {name, nullptr};
  static char* const no_environment[] = {nullptr};
  auto& b = *static_cast<becoming*>(told);
  bool const passed = b.its_end == talk::channel ? ::fcntl(b.its_end, F_SETFD, 0) == 0
                                                 : ::dup2(b.its_end, talk::channel) == talk::channel;
  if (passed) ::execveat(b.launcher, "", arguments, no_environment, AT_EMPTY_PATH);
  b.failed = errno;
  return EXIT_FAILURE;
}

// A launcher that we cannot hold must not go on. Its end is a matter of microseconds, so waiting for it is
// sound.
void take_back(pid_t pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) continue;
}

// Starts the launcher with every signal blocked: it is safe from them until it has handlers of its own.
// posix_spawn(3), which does the same, sees to each signal's handler first, while we wait: twice the time, to
// no end, as exec does so too.
result<pid_t> spawn(int launcher, int its_end) {
  constexpr std::size_t enough = 16 << 10;
  alignas(16) std::array<std::byte, enough> stack;
  becoming child{launcher, its_end};
  blocked_signals meanwhile;  // whoever borrows our memory must not run our handlers
  constexpr int until_exec = CLONE_VM | CLONE_VFORK;
  pid_t const pid = ::clone(become_launcher, stack.data() + stack.size(), until_exec | SIGCHLD, &child);
  if (pid < 0) return os_failure("starting the launcher");
  if (child.failed != 0) {
    take_back(pid);
    return os_failure("starting the launcher", child.failed);
  }
  ::sched_yield();  // it may have woken on our processor, and everybody waits for it
  return pid;
}

}  // namespace

result<unique_fd> open_launcher(std::string const& path) {
  unique_fd opened(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!opened) return os_failure("opening the launcher '" + path + "'");
  unique_fd high(::fcntl(opened.get(), F_DUPFD_CLOEXEC, lowest_launcher_descriptor));
  if (!high) return os_failure("keeping the launcher '" + path + "'");
  return high;
}

result<launched_process> launch(int launcher, std::span<std::byte const> spec,
                                launch_descriptors const& given) {
  if (given.listeners.size() > talk::most_listeners) return plain_failure("launching: too many descriptors");
  if (launcher == talk::channel) return plain_failure("launching: open the launcher with open_launcher()");
  auto memory = seal_in_memory(spec);
  if (!memory) return failure(std::move(memory.error()).during("launching"));

  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return os_failure("launching: creating the launcher's channel");
  }
  unique_fd ours(ends[0]);
  unique_fd theirs(ends[1]);
  if (auto queued = queue_conversation(ours.get(), memory->get(), given); !queued) {
    return failure(std::move(queued.error()).during("launching"));
  }
  auto pid = spawn(launcher, theirs.get());
  if (!pid) return failure(std::move(pid.error()).during("launching"));
  unique_fd pidfd(open_pidfd(*pid));
  if (!pidfd) {
    auto lost = os_failure("launching: holding the launcher");
    take_back(*pid);
    return lost;
  }
  return launched_process{*pid, std::move(pidfd), std::move(ours)};
}

result<launch_report> read_launch_report(int channel) {
  talk::report record;
  ssize_t size = -1;
  // A launcher that gave up with messages unread resets the channel; its report waits behind that one error.
  for (bool was_reset = false;;) {
    size = ::recv(channel, &record, sizeof record, MSG_DONTWAIT);
    if (size >= 0) break;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return launch_report{};
    if (errno != ECONNRESET || was_reset) return os_failure("reading the launcher's report");
    was_reset = true;
  }
  if (size == 0) return launch_report{.progress = launch_progress::executed};
  if (size != static_cast<ssize_t>(sizeof record) || record.magic != talk::magic) {
    return plain_failure("reading the launcher's report: it makes no sense");
  }
  return launch_report{launch_progress::failed, static_cast<std::uint8_t>(record.stage), record.error_number};
}

bool is_transient(error const& e) {
  if (e.code.category() != std::generic_category()) return false;
  constexpr std::array shortages{EAGAIN, ETOOMANYREFS, EMFILE, ENFILE, ENOMEM, ENOBUFS};
  return std::ranges::find(shortages, e.code.value()) != shortages.end();
}

}  // namespace handoff
