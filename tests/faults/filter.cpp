#include "filter.hpp"

#include "fault_table.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

namespace faults {

using handoff::os_failure;
using handoff::result;
using handoff::unique_fd;

namespace {

constexpr int waiting_programs = 8;

sockaddr_un address_of(std::string const& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

// Asks about everything but what is exempt, so that a call which no table knows is found.
std::vector<sock_filter> make_filter() {
  std::vector<sock_filter> code{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (auto const& call : exempt_calls()) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call.number), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  return code;
}

// A signal that arrives while we look at a call waits, as it would for the call itself.
int install_filter() {
  auto code = make_filter();
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::geteuid() != 0) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  constexpr unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

void send_descriptor(int channel, int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> control{};
  msghdr message{
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.data(), .msg_controllen = control.size()};
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  ::sendmsg(channel, &message, MSG_NOSIGNAL);
}

}  // namespace

result<unique_fd> listen_at(std::string const& path) {
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = address_of(path);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(fd.get(), waiting_programs) < 0)
    return os_failure("listening at " + path);
  return fd;
}

result<joined> receive(int listening) {
  unique_fd channel(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  if (!channel) return os_failure("accepting a program");
  ucred who{};
  socklen_t size = sizeof who;
  ::getsockopt(channel.get(), SOL_SOCKET, SO_PEERCRED, &who, &size);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.data(), .msg_controllen = control.size()};
  ssize_t length = ::recvmsg(channel.get(), &message, MSG_CMSG_CLOEXEC);
  cmsghdr const* rights = CMSG_FIRSTHDR(&message);
  if (length != 1 || rights == nullptr) return os_failure("receiving a filter");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
  return joined{who.pid, unique_fd(fd)};
}

handoff::error join_and_become(std::string const& path, char** arguments) {
  unique_fd channel(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = address_of(path);
  if (!channel || ::connect(channel.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return os_failure("joining at " + path).error();
  // Once under the filter we could only wait: a thread that is not sends its descriptor.
  constexpr int not_yet = -2;
  std::atomic<int> installed = not_yet;
  std::atomic<bool> sent = false;
  std::jthread sender([&] {
    installed.wait(not_yet);
    if (installed >= 0) send_descriptor(channel.get(), installed);
    sent = true;
    sent.notify_all();
  });
  int fd = install_filter();
  auto why = os_failure("installing a filter").error();
  installed = fd;
  installed.notify_all();
  sent.wait(false);
  if (fd < 0) return why;
  ::execvp(arguments[0], arguments);
  return os_failure("becoming " + std::string(arguments[0])).error();
}

}  // namespace faults
