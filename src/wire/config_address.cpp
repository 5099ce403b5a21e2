#include "config_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace handoff {

namespace {

// sun_path ends in a NUL for a path and begins with one for an abstract name (unix(7)).
constexpr std::size_t longest_path = sizeof(sockaddr_un{}.sun_path) - 1;

result<parsed_address> parse_unix(std::string_view path) {
  if (!path.starts_with('/') && !(path.starts_with('@') && path.size() > 1)) {
    return plain_failure("expected an absolute path or @name after \"unix:\"");
  }
  std::size_t length = path.size() - (path[0] == '@' ? 1 : 0);
  if (length > longest_path) {
    return plain_failure("the path has " + std::to_string(length) +
                         " bytes, but a Unix socket's has at most " + std::to_string(longest_path));
  }
  return parsed_address{unix_address{std::string(path)}, socket_type::stream};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failed != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

// The usual spelling of a numeric host, so that equal addresses are equal texts; nothing for what is none.
std::optional<std::string> canonical(std::string const& host, int family) {
  in6_addr binary{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (host.find('\0') != std::string::npos || inet_pton(family, host.c_str(), &binary) != 1)
    return std::nullopt;
  return inet_ntop(family, &binary, text.data(), text.size());
}

}  // namespace

result<parsed_address> parse_address(std::string_view text) {
  constexpr std::string_view unix_scheme = "unix:";
  constexpr std::string_view udp_scheme = "udp://";
  if (text.starts_with(unix_scheme)) return parse_unix(text.substr(unix_scheme.size()));
  socket_type type = socket_type::stream;
  if (text.starts_with(udp_scheme)) {
    type = socket_type::datagram;
    text.remove_prefix(udp_scheme.size());
  }

  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return plain_failure(
        "expected \"host:port\", \"[v6]:port\", \"udp://host:port\", \"unix:/path\" or \"unix:@name\"");
  }
  auto port = parse_port(text.substr(colon + 1));
  if (!port) return plain_failure("expected a port from 1 to 65535 after the last colon");
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 1;
  auto numeric = bracketed ? canonical(std::string(host.substr(1, host.size() - 2)), AF_INET6)
                           : canonical(std::string(host), AF_INET);
  if (!numeric) {
    return plain_failure(
        "expected a numeric host such as 0.0.0.0 (every IPv4 address), [::] (every address) or "
        "127.0.0.1");
  }
  return parsed_address{inet_address{std::move(*numeric), *port}, type};
}

}  // namespace handoff
