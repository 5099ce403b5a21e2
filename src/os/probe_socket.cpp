#include "probe_socket.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace handoff {

namespace {

bool is_everywhere(socket_address const& address) {
  if (address.family() == AF_INET)
    return reinterpret_cast<sockaddr_in const*>(address.get())->sin_addr.s_addr == htonl(INADDR_ANY);
  auto const* six = reinterpret_cast<sockaddr_in6 const*>(address.get());
  return std::memcmp(&six->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
}

}  // namespace

result<probe_socket> bind_probe(listener_settings const& listener) {
  auto const* configured = std::get_if<inet_address>(&listener.address);
  if (configured == nullptr || listener.type != socket_type::stream)
    return plain_failure("only a TCP listener with an address can be probed");
  listener_settings to = listener;
  auto& target = std::get<inet_address>(to.address);
  auto address = address_of(to);
  if (!address) return failure(std::move(address.error()));
  if (is_everywhere(*address)) target.host = address->family() == AF_INET ? "127.0.0.1" : "::1";

  listener_settings near = to;
  std::get<inet_address>(near.address).port = 0;
  auto source = address_of(near);
  if (!source) return failure(std::move(source.error()));
  unique_fd fd(::socket(source->family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return os_failure("making a probe's socket");
  if (::bind(fd.get(), source->get(), source->length) < 0)
    return os_failure("binding a probe to " + target.host);
  auto bound = bound_address(fd.get());
  if (!bound) return failure(std::move(bound.error()));
  return probe_socket{std::move(fd), *bound, target};
}

}  // namespace handoff
