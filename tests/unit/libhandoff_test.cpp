// libhandoff in real processes: each case forks a service that finds its descriptors where a supervisor puts
// them.
#include <base/unique_fd.hpp>
#include <handoff/handoff.h>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using handoff::unique_fd;

namespace {

constexpr int first_fd = 3;
constexpr int out_of_the_way = 200;

struct launch {
  std::vector<int> passed;
  std::vector<std::pair<std::string, std::string>> environment;
  bool for_somebody_else = false;  // LISTEN_PID is not the service's
};

// Runs `body` as a service in a process of its own; the number of the first line that failed, 0 for none.
int service(launch const& how, std::function<int()> const& body) {
  pid_t child = fork();
  if (child == 0) {
    for (int number = 1; number < SIGRTMIN; ++number)
      signal(number, SIG_DFL);  // the test framework has handlers
    for (std::size_t i = 0; i < how.passed.size(); ++i)
      dup2(how.passed[i], out_of_the_way + static_cast<int>(i));
    for (std::size_t i = 0; i < how.passed.size(); ++i) {
      dup2(out_of_the_way + static_cast<int>(i), first_fd + static_cast<int>(i));
    }
    pid_t meant = how.for_somebody_else ? getppid() : getpid();
    setenv("LISTEN_PID", std::to_string(meant).c_str(), 1);
    setenv("LISTEN_FDS", std::to_string(how.passed.size()).c_str(), 1);
    for (auto const& [name, value] : how.environment) setenv(name.c_str(), value.c_str(), 1);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void passes(launch const& how, std::function<int()> const& body) { CHECK(service(how, body) == 0); }

#define MUST(condition)                                                    \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                            \
    }                                                                      \
  } while (false)

unique_fd inet_socket(int type, bool listening) {
  unique_fd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  if (listening) REQUIRE(listen(fd.get(), 16) == 0);
  return fd;
}

std::string scratch_path(char const* name) {
  return "/tmp/handoff-test-" + std::to_string(getpid()) + "-" + name;
}

unique_fd unix_socket(std::string const& path, int type) {
  unique_fd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  unlink(path.c_str());
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  if (type != SOCK_DGRAM) REQUIRE(listen(fd.get(), 16) == 0);
  return fd;
}

struct heard {
  std::string text;
  unique_fd fd;
};

heard next_message(unique_fd const& ear) {
  char bytes[4096];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{bytes, sizeof bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = recvmsg(ear.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  heard out;
  if (got > 0) out.text.assign(bytes, static_cast<std::size_t>(got));
  cmsghdr const* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return out;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  out.fd = unique_fd(fd);
  return out;
}

bool is_readable(int fd) {
  pollfd watched{fd, POLLIN, 0};
  return poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN) != 0;
}

}  // namespace

TEST_CASE("libhandoff: listeners come with name, kind, transport and address") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true), udp = inet_socket(SOCK_DGRAM, false);
  std::string path = scratch_path("seq");
  unique_fd seqpacket = unix_socket(path, SOCK_SEQPACKET);
  launch how{.passed = {tcp.get(), udp.get(), seqpacket.get()},
             .environment = {{"LISTEN_FDNAMES", "http:dns:bus"}}};
  passes(how, [&] {
    MUST(handoff_init(0) == 3);
    MUST(handoff_listener_count() == 3);
    MUST(handoff_listener_find("dns") == 1);
    MUST(handoff_listener_find("smtp") == -ENOENT);
    MUST(handoff_listener_fd(0) == 3 && handoff_listener_fd(2) == 5);
    MUST(handoff_listener_fd(3) == -EINVAL && handoff_listener_fd(-1) == -EINVAL);
    MUST(std::string(handoff_listener_name(2)) == "bus" && handoff_listener_name(3) == nullptr);
    MUST(handoff_listener_kind(0) == HANDOFF_STREAM && handoff_listener_transport(0) == HANDOFF_TCP);
    MUST(handoff_listener_kind(1) == HANDOFF_DATAGRAM && handoff_listener_transport(1) == HANDOFF_UDP);
    MUST(handoff_listener_kind(2) == HANDOFF_SEQPACKET && handoff_listener_transport(2) == HANDOFF_UNIX);
    MUST(std::string(handoff_listener_address(0)).starts_with("127.0.0.1:"));
    MUST(std::string(handoff_listener_address(2)) == "unix:" + path);
    for (int i = 0; i < 3; ++i) MUST(fcntl(handoff_listener_fd(i), F_GETFD) == FD_CLOEXEC);
    return 0;
  });
  INFO("the flags of a shared socket are everybody's");
  CHECK((fcntl(tcp.get(), F_GETFL) & O_NONBLOCK) == 0);
  unlink(path.c_str());
}

TEST_CASE("libhandoff: who the process is") {
  launch how{
      .environment = {{"HANDOFF_SERVICE", "web"}, {"HANDOFF_GENERATION", "42"}, {"HANDOFF_INSTANCE", "2"}}};
  passes(how, [] {
    MUST(std::string(handoff_service()) == "web");
    MUST(handoff_generation() == 42 && handoff_instance() == 2);
    return 0;
  });
  passes({.environment = {{"HANDOFF_GENERATION", "-1"}}}, [] {
    MUST(handoff_service() == nullptr);
    MUST(handoff_generation() == 0 && handoff_instance() == 0);
    return 0;
  });
}

TEST_CASE("libhandoff: descriptors meant for another process are not touched") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  passes({.passed = {tcp.get()}, .for_somebody_else = true}, [] {
    MUST(handoff_init(0) == 0 && handoff_listener_count() == 0);
    MUST((fcntl(first_fd, F_GETFD) & FD_CLOEXEC) == 0);
    return 0;
  });
}

TEST_CASE("libhandoff: malformed variables are errors, and leave no listeners") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  auto [says, variable, value, expected] = GENERATE(table<char const*, char const*, std::string, int>({
      {"a count that is no number", "LISTEN_FDS", "two", -EINVAL},
      {"a negative count", "LISTEN_FDS", "-1", -EINVAL},
      {"a count with a tail", "LISTEN_FDS", "1 ", -EINVAL},
      {"a count beyond every bound", "LISTEN_FDS", "99999999999999999999", -EINVAL},
      {"one more than the most", "LISTEN_FDS", "4097", -E2BIG},
      {"a promised descriptor is not open", "LISTEN_FDS", "90", -EBADF},
      {"a pid that is no number", "LISTEN_PID", "self", -EINVAL},
      {"more names than descriptors", "LISTEN_FDNAMES", "a:b", -EINVAL},
      {"a name too long", "LISTEN_FDNAMES", std::string(256, 'n'), -EINVAL},
  }));
  CAPTURE(says);
  launch how{.passed = {tcp.get()}, .environment = {{variable, value}}};
  passes(how, [expected = expected] {
    MUST(handoff_init(0) == expected);
    MUST(handoff_listener_count() == 0 && handoff_stored_count() == 0);
    MUST(handoff_listen("a", "127.0.0.1:0", 0) == expected);
    return 0;
  });
}

TEST_CASE("libhandoff: a name may have 255 characters, and be absent") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  std::string longest(255, 'n');
  passes({.passed = {tcp.get()}, .environment = {{"LISTEN_FDNAMES", longest}}}, [&] {
    MUST(handoff_listener_find(longest.c_str()) == 0);
    return 0;
  });
  passes({.passed = {tcp.get()}}, [] {
    MUST(handoff_listener_find("unknown") == 0);
    return 0;
  });
}

TEST_CASE("libhandoff: the environment is removed on request only") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  launch how{.passed = {tcp.get()},
             .environment = {{"HANDOFF_GENERATION", "3"}, {"NOTIFY_SOCKET", "/nowhere"}}};
  passes(how, [] {
    MUST(handoff_init(0) == 1);
    MUST(getenv("LISTEN_FDS") != nullptr && getenv("NOTIFY_SOCKET") != nullptr);
    MUST(handoff_init(HANDOFF_UNSET_ENVIRONMENT) == 1);
    for (char const* gone : {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"})
      MUST(!getenv(gone));
    MUST(getenv("HANDOFF_GENERATION") != nullptr);
    MUST(handoff_listener_count() == 1 && handoff_ready() == -ENOENT);
    return 0;
  });
}

TEST_CASE("libhandoff: messages reach a real notify socket") {
  std::string path = scratch_path("notify");
  unique_fd ear = unix_socket(path, SOCK_DGRAM);
  std::string long_text(HANDOFF_STATUS_MAX - 1, 'x');
  passes({.environment = {{"NOTIFY_SOCKET", path}}}, [&] {
    MUST(handoff_ready() == 1);
    MUST(handoff_status("line one\nMAINPID=1") == 1);
    MUST(handoff_status((long_text + "\xC3\xBC").c_str()) == 1);
    MUST(handoff_notify("WATCHDOG=1") == 1);
    MUST(handoff_stopping() == 1);
    MUST(handoff_status(nullptr) == -EINVAL && handoff_notify("") == -EINVAL);
    return 0;
  });
  CHECK(next_message(ear).text == "READY=1");
  CHECK(next_message(ear).text == "STATUS=line one MAINPID=1");
  CHECK(next_message(ear).text == "STATUS=" + long_text);
  CHECK(next_message(ear).text == "WATCHDOG=1");
  CHECK(next_message(ear).text == "STOPPING=1");
  unlink(path.c_str());
}

TEST_CASE("libhandoff: an abstract notify socket is reached, and other families are refused") {
  std::string name = "handoff-test-" + std::to_string(getpid());
  unique_fd ear(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  REQUIRE(bind(ear.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  passes({.environment = {{"NOTIFY_SOCKET", "@" + name}}}, [] {
    MUST(handoff_ready() == 1);
    return 0;
  });
  CHECK(next_message(ear).text == "READY=1");
  auto [value, expected] = GENERATE(table<std::string, int>({{"vsock:2:1234", -EAFNOSUPPORT},
                                                             {"/", -EINVAL},
                                                             {"/" + std::string(107, 'p'), -ENAMETOOLONG},
                                                             {"/nowhere/at/all", -ENOENT}}));
  passes({.environment = {{"NOTIFY_SOCKET", value}}}, [expected = expected] {
    MUST(handoff_ready() == expected);
    return 0;
  });
}

TEST_CASE("libhandoff: a supervisor that does not listen delays a message, never for ever") {
  std::string path = scratch_path("deaf");
  unique_fd ear = unix_socket(path, SOCK_DGRAM);
  passes({.environment = {{"NOTIFY_SOCKET", path}}}, [] {
    int outcome = 1;
    for (int i = 0; i < 100000 && outcome == 1; ++i) outcome = handoff_notify("X=1");
    MUST(outcome == -ETIMEDOUT);
    return 0;
  });
  unlink(path.c_str());
}

TEST_CASE("libhandoff: what is stored arrives with its name, and comes back after the listeners") {
  std::string path = scratch_path("store");
  unique_fd ear = unix_socket(path, SOCK_DGRAM);
  passes({.environment = {{"NOTIFY_SOCKET", path}}}, [] {
    int state = memfd_create("state", MFD_CLOEXEC);
    MUST(write(state, "kept", 4) == 4);
    MUST(handoff_store(state, "cache") == 1);
    MUST(handoff_store_remove("cache") == 1);
    MUST(handoff_store(state, "with:colon") == -EINVAL);
    MUST(handoff_store(state, "") == -EINVAL && handoff_store(state, nullptr) == -EINVAL);
    MUST(handoff_store(state, std::string(256, 'n').c_str()) == -EINVAL);
    MUST(handoff_store(-1, "cache") == -EBADF);
    return 0;
  });
  heard stored = next_message(ear);
  CHECK(stored.text == "FDSTORE=1\nFDNAME=cache");
  REQUIRE(stored.fd);
  CHECK(next_message(ear).text == "FDSTOREREMOVE=1\nFDNAME=cache");

  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  launch next{.passed = {tcp.get(), stored.fd.get()}, .environment = {{"LISTEN_FDNAMES", "http:cache"}}};
  passes(next, [] {
    MUST(handoff_listener_count() == 1 && handoff_stored_count() == 1);
    MUST(handoff_stored("cache") == 4 && handoff_stored("http") == -ENOENT);
    MUST(std::string(handoff_stored_name(0)) == "cache" && handoff_stored_fd(1) == -EINVAL);
    char bytes[5] = {};
    MUST(pread(handoff_stored("cache"), bytes, 4, 0) == 4 && std::string(bytes) == "kept");
    MUST(fcntl(4, F_GETFD) == FD_CLOEXEC);
    return 0;
  });
  unlink(path.c_str());
}

TEST_CASE("libhandoff: the drain descriptor tells the signal, whichever thread it meets") {
  passes({}, [] {
    int fd = handoff_drain_fd(0);
    MUST(fd >= 0 && !is_readable(fd) && handoff_draining() == 0);
    MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    MUST(handoff_drain_fd(SIGUSR1) == fd);
    std::thread([] { raise(SIGTERM); }).join();
    MUST(is_readable(fd) && is_readable(fd) && handoff_draining() == 1);
    return 0;
  });
  passes({}, [] {
    int fd = handoff_drain_fd(SIGUSR2);
    raise(SIGUSR2);
    MUST(is_readable(fd));
    return 0;
  });
}

TEST_CASE("libhandoff: a program's own handler stays, and impossible signals are refused") {
  passes({}, [] {
    signal(SIGTERM, [](int) {});
    MUST(handoff_drain_fd(SIGTERM) == -EBUSY);
    MUST(handoff_drain_fd(SIGKILL) == -EINVAL && handoff_drain_fd(1000) == -EINVAL);
    return 0;
  });
}

TEST_CASE("libhandoff: a forked child dies of the signal, and its parent is not told to drain") {
  passes({}, [] {
    int fd = handoff_drain_fd(0);
    pid_t child = fork();
    if (child == 0) {
      raise(SIGTERM);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    MUST(!is_readable(fd) && handoff_draining() == 0);
    return 0;
  });
}

TEST_CASE("libhandoff: a name gets the inherited listener, or a new one when nothing was passed") {
  unique_fd tcp = inet_socket(SOCK_STREAM, true);
  passes({.passed = {tcp.get()}, .environment = {{"LISTEN_FDNAMES", "http"}}}, [] {
    MUST(handoff_listen("http", "127.0.0.1:0", 0) == 3);
    MUST(handoff_listen("admin", "127.0.0.1:0", 0) == -ENOENT);
    return 0;
  });
  std::string path = scratch_path("listen");
  unix_socket(path, SOCK_STREAM).reset();
  passes({}, [&] {
    std::string address = "unix:" + path;
    MUST(handoff_ready() == 0);
    int stale_replaced = handoff_listen("a", address.c_str(), 0);
    MUST(stale_replaced >= 0);
    MUST(handoff_listen("a", address.c_str(), 0) == -EADDRINUSE);
    int udp = handoff_listen("a", "udp://127.0.0.1:0", 0), v6 = handoff_listen("a", "[::1]:0", 7);
    MUST(udp >= 0 && fcntl(udp, F_GETFD) == FD_CLOEXEC);
    MUST(v6 >= 0 || v6 == -EADDRNOTAVAIL || v6 == -EAFNOSUPPORT);
    for (char const* bad : {"", "80", "host:80", ":80", "[127.0.0.1]:80", "::1:80", "unix:", "unix:relative",
                            "127.0.0.1:99999999"}) {
      MUST(handoff_listen("a", bad, 0) == -EINVAL);
    }
    MUST(handoff_listen("a", nullptr, 0) == -EINVAL);
    return 0;
  });
  unlink(path.c_str());
}
