#include <base/unique_fd.hpp>

#include <cli/connection.hpp>
#include <cli/demo_host.hpp>
#include <cli/told.hpp>
#include <fcntl.h>
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
#include <fstream>

namespace handoff::cli {

namespace {

constexpr duration patience{10'000};

std::string from_environment(char const* name, char const* otherwise) {
  char const* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

// A child of the demonstration; ended and reaped with this.
class child {
 public:
  child() = default;
  child(child&& o) noexcept : pid_(std::exchange(o.pid_, -1)) {}
  child& operator=(child o) noexcept {
    std::swap(pid_, o.pid_);
    return *this;
  }
  ~child() { end(); }

  static result<child> spawn(std::vector<std::string> const& arguments,
                             std::vector<std::string> const& variables, std::string const& log);

  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
  }
  void end();

 private:
  pid_t pid_ = -1;
};

void child::end() {
  if (pid_ <= 0) return;
  signal(SIGTERM);
  unique_fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd wanted{ended.get(), POLLIN, 0};
  if (::poll(&wanted, 1, static_cast<int>(patience.count())) <= 0) signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::vector<char*> pointers(std::vector<std::string> const& texts) {
  std::vector<char*> list;
  for (auto const& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

result<child> child::spawn(std::vector<std::string> const& arguments,
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
  child made;
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

// ---- naive

// READY=1, as systemd would receive it: the comparison is fair only when both sides know who is ready.
class ready_socket {
 public:
  static result<ready_socket> open(std::string const& path) {
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
  result<> wait() const {
    pollfd wanted{fd_.get(), POLLIN, 0};
    for (;;) {
      if (::poll(&wanted, 1, static_cast<int>(patience.count())) <= 0)
        return plain_failure("the service does not become ready");
      char text[512];
      ssize_t n = ::recv(fd_.get(), text, sizeof text, 0);
      if (n > 0 &&
          std::string_view(text, static_cast<std::size_t>(n)).find("READY=1") != std::string_view::npos)
        return {};
    }
  }

 private:
  unique_fd fd_;
};

class naive_host final : public demo_host {
 public:
  naive_host(demo_programs const& programs, std::string directory, std::string address)
      : programs_(programs), directory_(std::move(directory)), address_(std::move(address)) {}

  result<> start() override { return upgrade(1); }

  result<> upgrade(unsigned version) override {
    std::string path = directory_ + "/ready";
    auto ready = ready_socket::open(path);
    if (!ready) return std::unexpected(ready.error());
    service_.end();
    auto started = child::spawn({programs_.service, "--version", std::to_string(version), "--bind", address_},
                                {"NOTIFY_SOCKET=" + path}, directory_ + "/naive.log");
    if (!started) return std::unexpected(started.error());
    service_ = std::move(*started);
    return ready->wait();
  }

 private:
  demo_programs programs_;
  std::string directory_, address_;
  child service_;
};

// ---- ours

class handoff_host final : public demo_host {
 public:
  handoff_host(demo_programs const& programs, std::string directory, std::string address)
      : programs_(programs), directory_(std::move(directory)), address_(std::move(address)) {}

  result<> start() override {
    if (auto written = configure(1); !written) return written;
    std::string notify = directory_ + "/supervisor-ready";
    auto ready = ready_socket::open(notify);
    if (!ready) return std::unexpected(ready.error());
    auto started = child::spawn({programs_.supervisor, directory_ + "/demo.toml"},
                                {"HANDOFF_RUNTIME_DIR=" + directory_, "HANDOFF_STATE_DIR=" + directory_,
                                 "HANDOFF_EXEC=" + programs_.launcher, "NOTIFY_SOCKET=" + notify},
                                directory_ + "/handoffd.log");
    if (!started) return std::unexpected(started.error());
    supervisor_ = std::move(*started);
    if (auto up = ready->wait(); !up) return failure(std::move(up.error()).during("handoffd"));
    return begin_watch();
  }

  result<> upgrade(unsigned version) override {
    if (auto written = configure(version); !written) return written;
    supervisor_.signal(SIGHUP);
    std::string verdict = "none";
    for (;;) {
      auto reply = events_->receive(deadline_after(patience));
      if (!reply) return failure(std::move(reply.error()).during("waiting for the verdict"));
      json const& event = member(reply->parameters, "event");
      if (raw_text(event, "kind") == "verdict") verdict = raw_text(event, "verdict");
      if (raw_text(event, "kind") == "verdict" && verdict != "promoted")
        return plain_failure("version " + std::to_string(version) + ": " + line_of(member(event, "text")));
      if (raw_text(event, "kind") == "settled") return {};
    }
  }

 private:
  result<> configure(unsigned version) {
    std::ofstream file(directory_ + "/demo.toml");
    file << "[service]\nname = \"demo\"\ncommand = [\"" << programs_.service << "\", \"--version\", \""
         << version << "\"]\n[[listener]]\nname = \"http\"\naddress = \"" << address_ << "\"\n";
    file.close();
    if (!file) return plain_failure("writing " + directory_ + "/demo.toml");
    return {};
  }

  result<> begin_watch() {
    auto opened = connection::open(directory_ + "/demo.sock", deadline_after(patience));
    if (!opened) return std::unexpected(opened.error());
    events_ = std::move(*opened);
    varlink::call watch{.method = "io.handoff.Supervisor.Watch", .more = true};
    if (auto sent = events_->send(watch, deadline_after(patience)); !sent) return sent;
    auto hello = events_->receive(deadline_after(patience));
    if (!hello) return std::unexpected(hello.error());
    return {};
  }

  demo_programs programs_;
  std::string directory_, address_;
  child supervisor_;
  std::optional<connection> events_;
};

}  // namespace

result<demo_programs> demo_programs::find() {
  demo_programs found{from_environment("HANDOFFD", HANDOFF_SBIN "/handoffd"),
                      from_environment("HANDOFF_EXEC", HANDOFF_LIBEXEC "/handoff-exec"),
                      from_environment("HANDOFF_DEMO_SERVICE", HANDOFF_LIBEXEC "/handoff-demo-service")};
  for (auto const* path : {&found.supervisor, &found.launcher, &found.service})
    if (::access(path->c_str(), X_OK) < 0) return os_failure("the demonstration needs " + *path);
  return found;
}

std::unique_ptr<demo_host> naive_restarts(demo_programs const& programs, std::string directory,
                                          std::string address) {
  return std::make_unique<naive_host>(programs, std::move(directory), std::move(address));
}

std::unique_ptr<demo_host> under_handoffd(demo_programs const& programs, std::string directory,
                                          std::string address) {
  return std::make_unique<handoff_host>(programs, std::move(directory), std::move(address));
}

}  // namespace handoff::cli
