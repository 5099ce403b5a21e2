#include "connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace handoff::cli {

namespace {

constexpr duration longest_poll = std::chrono::hours(1);

failure lost() { return os_failure("the supervisor closed the connection", ENOTCONN); }

}  // namespace

instant now() { return std::chrono::time_point_cast<duration>(std::chrono::steady_clock::now()); }

instant deadline_after(std::optional<duration> patience) {
  return patience ? now() + *patience : instant::max();
}

bool is(error const& e, std::errc what) { return e.code == std::make_error_condition(what); }

result<interruptions> interruptions::catch_them() {
  sigset_t both;
  ::sigemptyset(&both);
  ::sigaddset(&both, SIGINT);
  ::sigaddset(&both, SIGTERM);
  interruptions caught;
  caught.fd_ = unique_fd(::signalfd(-1, &both, SFD_CLOEXEC));
  if (!caught.fd_ || ::sigprocmask(SIG_BLOCK, &both, nullptr) < 0) return os_failure("catching signals");
  return caught;
}

bool interruptions::come_within(duration patience) const {
  pollfd ask{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&ask, 1, static_cast<int>(std::min(patience, longest_poll).count())) > 0;
}

result<connection> connection::open(std::string const& path, instant deadline) {
  // The directory may belong to the user whom the service runs as: a link there must not lead root's command
  // to the supervisor of another service.
  unique_fd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat about;
  if (!file || ::fstat(file.get(), &about) < 0) return os_failure("connecting to " + path);
  if (S_ISLNK(about.st_mode)) return os_failure("connecting to " + path, ELOOP);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string const opened = "/proc/self/fd/" + std::to_string(file.get());
  static_assert(sizeof "/proc/self/fd/2147483647" <= sizeof address.sun_path);
  std::memcpy(address.sun_path, opened.data(), opened.size());
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return os_failure("making a socket");
  // connect(2) waits while the queue of the listener is full; a send timeout bounds that too (socket(7)).
  auto patience = std::max(deadline - now(), duration(1)).count();
  timeval limit{.tv_sec = patience / 1000, .tv_usec = patience % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) < 0) {
    return os_failure("connecting to " + path, errno == EAGAIN ? ETIMEDOUT : errno);
  }
  return connection(std::move(fd));
}

result<> connection::wait_until(short event, instant deadline) const {
  for (;;) {
    auto patience = std::clamp(deadline - now(), duration(0), longest_poll);
    std::array<pollfd, 2> watched{{{fd_.get(), event, 0}, {interrupted_by_, POLLIN, 0}}};
    int happened = ::poll(watched.data(), watched.size(), static_cast<int>(patience.count()));
    if (happened < 0 && errno != EINTR) return os_failure("waiting for the supervisor");
    if (happened > 0 && watched[1].revents != 0) return os_failure("waiting", EINTR);
    if (happened > 0) return {};
    if (now() >= deadline) return os_failure("waiting for the supervisor", ETIMEDOUT);
  }
}

result<> connection::send(varlink::call const& what, instant deadline) {
  std::string bytes = to_bytes(what);
  for (std::string_view rest = bytes; !rest.empty();) {
    ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
    // One that turned us away has said why, so its last words are read before it counts as gone.
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return {};
    if (n < 0 && errno != EAGAIN && errno != EINTR) return os_failure("asking the supervisor");
    if (n < 0 && errno == EAGAIN) {
      if (auto ready = wait_until(POLLOUT, deadline); !ready) return ready;
    }
  }
  return {};
}

result<std::optional<varlink::reply>> connection::take_message() {
  auto end = input_.find('\0', searched_);
  if (end == std::string::npos) {
    searched_ = input_.size();
    if (searched_ > varlink::reply_limit) return plain_failure("the supervisor's reply is too long");
    return std::nullopt;
  }
  auto told = varlink::read_reply(std::string_view(input_).substr(0, end));
  input_.erase(0, end + 1);
  searched_ = 0;
  if (!told) return failure(std::move(told.error()).during("the supervisor's reply"));
  return std::move(*told);
}

result<> connection::read_some() {
  std::array<char, 64 * 1024> block;
  ssize_t n = ::recv(fd_.get(), block.data(), block.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (n == 0 || (n < 0 && errno == ECONNRESET)) return lost();
  if (n < 0) return os_failure("reading the supervisor's reply");
  input_.append(block.data(), static_cast<std::size_t>(n));
  return {};
}

result<varlink::reply> connection::receive(instant deadline) {
  for (;;) {
    auto message = take_message();
    if (!message) return failure(std::move(message.error()));
    if (*message) return std::move(**message);
    if (auto ready = wait_until(POLLIN, deadline); !ready) return failure(std::move(ready.error()));
    if (auto read = read_some(); !read) return failure(std::move(read.error()));
  }
}

result<std::optional<varlink::reply>> connection::receive_if_there() {
  auto message = take_message();
  if (!message || *message) return message;
  if (auto read = read_some(); !read) return failure(std::move(read.error()));
  return take_message();
}

}  // namespace handoff::cli
