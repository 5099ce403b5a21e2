// A configured address as the kernel takes it.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <string_view>

namespace handoff {

// The longest path of a Unix socket, without the closing NUL (unix(7)).
constexpr std::size_t longest_socket_path = sizeof(sockaddr_un::sun_path) - 1;

struct socket_address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  sockaddr const* get() const { return reinterpret_cast<sockaddr const*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// The address of a socket in the file system, or with a leading '@' in the abstract namespace.
// Fails when the path is longer than longest_socket_path or empty.
result<socket_address> unix_socket_address(std::string_view path);

// The address that a listener binds. Fails when the host is not numeric, and for an address adopted from
// systemd.
result<socket_address> address_of(listener_settings const& settings);

// The address that `fd` is bound to.
result<socket_address> bound_address(int fd);

// The path of a Unix address as the configuration writes it ("@name" when abstract); empty for every other
// one.
std::string path_of(socket_address const& address);

// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
int kernel_socket_type(socket_type type);

}  // namespace handoff
