#include "plan.hpp"

#include <netdb.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace handoff::load {

namespace {

result<target> parse_unix(std::string_view path) {
  target out{.how = transport::unix_stream, .host = "localhost"};
  sockaddr_un address{};
  if (path.size() < 2 || (path[0] != '/' && path[0] != '@'))
    return plain_failure("a unix target needs a path or @name");
  if (path.size() >= sizeof address.sun_path) return plain_failure("the path is too long for a socket");
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  bool abstract = path[0] == '@';
  if (abstract) address.sun_path[0] = '\0';
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  std::memcpy(&out.address, &address, sizeof address);
  return out;
}

}  // namespace

result<target> parse_target(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:", udp_prefix = "udp://";
  if (text.starts_with(unix_prefix)) return parse_unix(text.substr(unix_prefix.size()));
  target out;
  if (text.starts_with(udp_prefix)) {
    out.how = transport::udp;
    text.remove_prefix(udp_prefix.size());
  }
  out.host = text;
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return plain_failure("a target is host:port, udp://host:port or unix:/path");
  std::string host(text.substr(0, colon)), port(text.substr(colon + 1));
  std::uint16_t number = 0;
  auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (code != std::errc{} || end != port.data() + port.size())
    return plain_failure("the port is not a number up to 65535");
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);

  addrinfo hints{};
  hints.ai_family = bracketed ? AF_INET6 : AF_INET;
  hints.ai_socktype = out.how == transport::udp ? SOCK_DGRAM : SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failed != 0) {
    return plain_failure("the target '" + std::string(text) + "': " + gai_strerror(failed));
  }
  std::memcpy(&out.address, found->ai_addr, found->ai_addrlen);
  out.length = found->ai_addrlen;
  freeaddrinfo(found);
  return out;
}

}  // namespace handoff::load
