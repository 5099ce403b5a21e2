#include "demo_process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace handoff::cli {

namespace {

constexpr int patience_ms = 10'000;

std::string from_environment(char const* name, char const* otherwise) {
  char const* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::vector<char*> pointers(std::vector<std::string> const& texts) {
  std::vector<char*> list;
  for (auto const& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

}  // namespace

result<demo_programs> demo_programs::find() {
  demo_programs found{from_environment("HANDOFFD", HANDOFF_SBIN "/handoffd"),
                      from_environment("HANDOFF_EXEC", HANDOFF_LIBEXEC "/handoff-exec"),
                      from_environment("HANDOFF_DEMO_SERVICE", HANDOFF_LIBEXEC "/handoff-demo-service")};
  for (auto const* path : {&found.supervisor, &found.launcher, &found.service})
    if (::access(path->c_str(), X_OK) < 0) return os_failure("the demonstration needs " + *path);
  return found;
}

// ---- child

demo_child::demo_child(demo_child&& o) noexcept : pid_(std::exchange(o.pid_, -1)) {}

demo_child& demo_child::operator=(demo_child o) noexcept {
  std::swap(pid_, o.pid_);
  return *this;
}

void demo_child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void demo_child::end() {
  if (pid_ <= 0) return;
  signal(SIGTERM);
  unique_fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd wanted{ended.get(), POLLIN, 0};
  if (::poll(&wanted, 1, patience_ms) <= 0) signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

result<demo_child> demo_child::spawn(std::vector<std::string> const& arguments,
                                     std::vector<std::string> const& variables, std::string const& log) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  // We have signals blocked to notice an interruption; a child must not inherit that.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  auto environment = variables;
  environment.push_back("PATH=" + from_environment("PATH", "/usr/bin:/bin"));
  demo_child made;
  int problem = ::posix_spawn(&made.pid_, arguments[0].c_str(), &files, &attributes,
                              pointers(arguments).data(), pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (problem != 0) {
    made.pid_ = -1;
    return os_failure("starting " + arguments[0], problem);
  }
  return made;
}

// ---- readiness

result<ready_socket> ready_socket::open(std::string const& path) {
  ready_socket made;
  made.fd_ = unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!made.fd_) return os_failure("making a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return plain_failure(path + ": too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ::unlink(path.c_str());
  if (::bind(made.fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return os_failure("binding " + path);
  return made;
}

result<> ready_socket::wait() const {
  pollfd wanted{fd_.get(), POLLIN, 0};
  for (;;) {
    if (::poll(&wanted, 1, patience_ms) <= 0) return plain_failure("the service does not become ready");
    char text[512];
    ssize_t n = ::recv(fd_.get(), text, sizeof text, 0);
    if (n > 0 &&
        std::string_view(text, static_cast<std::size_t>(n)).find("READY=1") != std::string_view::npos)
      return {};
  }
}

// ---- a place

scratch::scratch() {
  std::string name = std::filesystem::temp_directory_path() / "handoff-demo-XXXXXX";
  if (::mkdtemp(name.data()) != nullptr) path_ = name;
}

scratch::~scratch() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

result<std::string> free_address() {
  unique_fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (!probe || ::bind(probe.get(), raw, length) < 0 || ::getsockname(probe.get(), raw, &length) < 0)
    return os_failure("looking for a free port");
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

}  // namespace handoff::cli
