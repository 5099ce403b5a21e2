#include "tcp.hpp"

#include <wire/config_values.hpp>

#include <fcntl.h>
#include <poll.h>
#include <probe/accepted.hpp>
#include <sys/socket.h>

#include <algorithm>

namespace handoff::probe {

namespace {

// No event tells that a peer accepted: the kernel is asked again after a while that grows.
constexpr int first_pause = 1, longest_pause = 50;  // milliseconds

// poll(2) for one descriptor, again when a signal came; whether there was something.
bool wait_for(int fd, short what, int milliseconds) {
  pollfd watched{fd, what, 0};
  return ::poll(&watched, 1, milliseconds) > 0;
}

std::expected<unique_fd, std::string> connect_to(options const& o, deadline until) {
  auto fd = open_socket(o);
  if (!fd) return fd;
  if (::connect(fd->get(), o.address.get(), o.address.length) == 0) return fd;
  if (errno != EINPROGRESS) return std::unexpected(os_trouble("connecting"));
  while (!wait_for(fd->get(), POLLOUT, remaining(until)))
    if (remaining(until) == 0) return std::unexpected(timed_out(o));
  int outcome = 0;
  socklen_t length = sizeof outcome;
  if (::getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &outcome, &length) < 0) outcome = errno;
  if (outcome != 0) return std::unexpected(os_trouble("connecting", outcome));
  return fd;
}

}  // namespace

int remaining(deadline until) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, limit::longest.count()));
}

std::string timed_out(options const& o) { return "timed out after " + duration_text(o.request.timeout); }

std::string os_trouble(char const* doing, int saved_errno) {
  return error{std::error_code(saved_errno, std::generic_category()), doing}.message();
}

std::expected<unique_fd, std::string> open_socket(options const& o) {
  unique_fd fd(o.socket ? *o.socket : ::socket(o.address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return std::unexpected(os_trouble("making a socket"));
  int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return std::unexpected(os_trouble("preparing the socket"));
  return fd;
}

trouble probe_tcp(options const& o, deadline until) {
  auto fd = connect_to(o, until);
  if (!fd) return fd.error();
  for (int pause = first_pause;; pause = std::min(2 * pause, longest_pause)) {
    // Whoever says something, or hangs up in good order, has accepted.
    if (wait_for(fd->get(), POLLIN, std::min(pause, remaining(until)))) {
      char byte = 0;
      if (::recv(fd->get(), &byte, 1, MSG_DONTWAIT) >= 0) return std::nullopt;
      if (errno != EAGAIN && errno != EINTR) return os_trouble("waiting to be accepted");
    }
    auto accepted = is_accepted(fd->get());
    if (!accepted) return accepted.error().message();
    if (*accepted) return std::nullopt;
    if (remaining(until) == 0) return timed_out(o);
  }
}

}  // namespace handoff::probe
