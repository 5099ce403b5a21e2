#include "listening.hpp"

#include <os/port_holder.hpp>
#include <os/socket_settings.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

namespace handoff {

std::string binding(listener_settings const& settings) {
  return "binding '" + settings.name + "' at " + to_string(settings);
}

result<unique_fd> make_socket(int family, listener_settings const& settings) {
  unique_fd made(::socket(family, kernel_socket_type(settings.type) | SOCK_CLOEXEC, 0));
  if (!made) return os_failure("creating a socket");
  auto options = set_socket_options(made.get(), family, settings.type, settings.options);
  if (!options) return std::unexpected(std::move(options).error());
  return made;
}

result<> bind_to(int fd, socket_address const& address, socket_type type) {
  if (::bind(fd, address.get(), address.length) == 0) return {};
  return errno == EADDRINUSE ? address_in_use(address, type) : os_failure("bind");
}

result<> listen_on(int fd, listener_settings const& settings) {
  if (settings.type == socket_type::datagram) return {};
  std::uint32_t backlog = std::min<std::uint32_t>(settings.options.backlog, std::numeric_limits<int>::max());
  if (::listen(fd, static_cast<int>(backlog)) == 0) return {};
  // Two sockets may be bound to one port as long as neither listens, so listen() can find it taken as well.
  auto refused = os_failure("listen");
  auto address = bound_address(fd);
  if (refused.error().code == std::errc::address_in_use && address)
    return address_in_use(*address, settings.type);
  return refused;
}

result<bool> is_listening(int fd) {
  int listens = 0;
  socklen_t length = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0)
    return os_failure("asking whether a socket listens");
  return listens != 0;
}

std::optional<std::uint32_t> accept_queue(int fd) {
  tcp_info information{};
  socklen_t length = sizeof information;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &information, &length) < 0) return std::nullopt;
  if (information.tcpi_state != TCP_LISTEN) return std::nullopt;
  return information.tcpi_unacked;  // of a listening socket: the accept queue
}

}  // namespace handoff
