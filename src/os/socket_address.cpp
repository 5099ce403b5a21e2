#include "socket_address.hpp"

#include <netdb.h>
#include <netinet/in.h>

#include <cstddef>
#include <cstring>
#include <string>

namespace handoff {

namespace {

result<socket_address> internet_address(inet_address const& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  // getaddrinfo() in place of inet_pton(): it knows the scope of a link-local address ("fe80::1%eth0").
  int status = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (status != 0) return plain_failure("'" + address.host + "' is not a numeric address");
  socket_address made;
  std::memcpy(&made.storage, found->ai_addr, found->ai_addrlen);
  made.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return made;
}

}  // namespace

result<socket_address> unix_socket_address(std::string_view path) {
  if (path.empty()) return plain_failure("a Unix socket needs a path");
  if (path.size() > longest_socket_path) {
    return plain_failure("the path of a Unix socket has at most " + std::to_string(longest_socket_path) +
                         " bytes, '" + std::string(path) + "' has " + std::to_string(path.size()));
  }
  socket_address made;
  auto* address = reinterpret_cast<sockaddr_un*>(&made.storage);
  address->sun_family = AF_UNIX;
  std::memcpy(address->sun_path, path.data(), path.size());
  std::size_t length = offsetof(sockaddr_un, sun_path) + path.size();
  // An abstract name is as long as the address says; a path ends in a NUL.
  if (path.front() == '@') {
    address->sun_path[0] = '\0';
  } else {
    length += 1;
  }
  made.length = static_cast<socklen_t>(length);
  return made;
}

result<socket_address> address_of(listener_settings const& settings) {
  if (auto const* internet = std::get_if<inet_address>(&settings.address)) return internet_address(*internet);
  if (auto const* local = std::get_if<unix_address>(&settings.address))
    return unix_socket_address(local->path);
  return plain_failure("an address adopted from systemd is not ours to bind");
}

result<socket_address> bound_address(int fd) {
  socket_address made;
  made.length = sizeof made.storage;
  if (::getsockname(fd, made.get(), &made.length) < 0) return os_failure("asking a socket for its address");
  return made;
}

std::string path_of(socket_address const& address) {
  if (address.family() != AF_UNIX) return {};
  auto const* local = reinterpret_cast<sockaddr_un const*>(&address.storage);
  std::size_t length = address.length - offsetof(sockaddr_un, sun_path);
  if (length == 0) return {};
  if (local->sun_path[0] == '\0') return "@" + std::string(local->sun_path + 1, length - 1);
  return {local->sun_path, ::strnlen(local->sun_path, length)};
}

int kernel_socket_type(socket_type type) {
  switch (type) {
    case socket_type::stream:
      return SOCK_STREAM;
    case socket_type::datagram:
      return SOCK_DGRAM;
    case socket_type::seqpacket:
      return SOCK_SEQPACKET;
  }
  return SOCK_STREAM;
}

}  // namespace handoff
