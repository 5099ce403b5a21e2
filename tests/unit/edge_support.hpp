// What the tests of sockets and pipes share: a scratch directory, a loop that runs until something holds,
// children.
#pragma once

#include <base/unique_fd.hpp>
#include <os/loop.hpp>
#include <os/socket_address.hpp>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace handoff::test {

constexpr uid_t nobody = 65534;

// A directory for one test, open to every user.
struct scratch_directory {
  std::string path = "/tmp/handoff_test.XXXXXX";
  scratch_directory() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
  }
  ~scratch_directory() { std::filesystem::remove_all(path); }
  std::string operator/(char const* name) const { return path + "/" + name; }
};

// Runs the loop until `done` holds, looking after each turn; false when that takes implausibly long.
template <class Done>
bool run_until(loop& events, Done done) {
  bool happened = false;
  auto look = events.before_sleep([&] {
    if (!done()) return;
    happened = true;
    events.stop();
  });
  auto late = events.at(loop::now() + std::chrono::seconds(10), [&] { events.stop(); });
  REQUIRE(look);
  REQUIRE(late);
  events.run();
  return happened;
}

// Handles everything that is ready now, without sleeping: a few turns, since one thing may make another
// ready.
inline void run_what_is_ready(loop& events) {
  for (int turn = 0; turn < 4; ++turn) {
    auto now = events.at(loop::now(), [&] { events.stop(); });
    REQUIRE(now);
    events.run();
  }
}

// A child that runs `body` and exits with what it returns.
template <class Body>
pid_t start_child(Body body) {
  pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  return child;
}

inline int exit_code_of(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The same as an unprivileged user. Only root can do that.
template <class Body>
int run_as_nobody(Body body) {
  return exit_code_of(start_child([&] {
    bool changed = ::setgroups(0, nullptr) == 0 && ::setresgid(nobody, nobody, nobody) == 0 &&
                   ::setresuid(nobody, nobody, nobody) == 0;
    return changed ? body() : 99;
  }));
}

inline bool is_root() { return ::geteuid() == 0; }

// Whether a test that must be root can go on; the run says which could not.
inline bool has_privileges() {
  if (!is_root()) WARN("skipped: needs root");
  return is_root();
}

inline std::size_t open_descriptors() {
  std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(entries, {}));
}

inline bool is_close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }
inline bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

// A client of whatever is bound at `address`; empty, with errno, when it is refused. Never waits.
inline unique_fd connect_to(socket_address const& address, int type = SOCK_STREAM) {
  unique_fd client(::socket(address.family(), type | SOCK_CLOEXEC, 0));
  if (address.family() == AF_UNIX) ::fcntl(client.get(), F_SETFL, O_NONBLOCK);
  return ::connect(client.get(), address.get(), address.length) == 0 ? std::move(client) : unique_fd();
}

// Sends a datagram with descriptors to a Unix path, as a service does; returns errno or 0.
inline int send_datagram(std::string const& path, std::string_view bytes,
                         std::vector<int> const& descriptors = {}) {
  auto address = unix_socket_address(path);
  unique_fd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  iovec buffer{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_name = address->get();
  message.msg_namelen = address->length;
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
  }
  return ::sendmsg(sender.get(), &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

}  // namespace handoff::test
