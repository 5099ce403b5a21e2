#include "socket_settings.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>
#include <string>

namespace handoff {

namespace {

// Newer than the C library's headers of Debian 12 are in the places that POSIX programs include
// (linux/in6.h).
constexpr int ipv6_transparent = 75;
constexpr int ipv6_freebind = 78;

struct number_option {
  bool wanted;
  int level;
  int option;
  int value;
  char const* doing;
};

int whole(std::uint32_t value) {
  return static_cast<int>(std::min<std::uint32_t>(value, std::numeric_limits<int>::max()));
}

result<> set(int fd, number_option const& o) {
  if (!o.wanted) return {};
  if (::setsockopt(fd, o.level, o.option, &o.value, sizeof o.value) < 0) return os_failure(o.doing);
  return {};
}

// The privileged form ignores the system's limit (socket(7)); without the privilege the limit applies.
result<> set_buffer(int fd, std::optional<std::uint32_t> bytes, int forced, int plain, char const* doing) {
  if (!bytes) return {};
  if (set(fd, {true, SOL_SOCKET, forced, whole(*bytes), doing})) return {};
  return set(fd, {true, SOL_SOCKET, plain, whole(*bytes), doing});
}

}  // namespace

result<> set_non_blocking(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return os_failure("setting non-blocking");
  return {};
}

result<> set_socket_options(int fd, int family, socket_type type, socket_options const& options) {
  bool six = family == AF_INET6;
  bool internet = six || family == AF_INET;
  bool tcp = internet && type == socket_type::stream;
  int ip = six ? IPPROTO_IPV6 : IPPROTO_IP;
  auto defer = std::chrono::duration_cast<std::chrono::seconds>(options.defer_accept.value_or(duration{0}));
  number_option const numbers[] = {
      // On TCP it only forgives connections in TIME_WAIT; on UDP it would let strangers share the port
      // (socket(7)).
      {tcp, SOL_SOCKET, SO_REUSEADDR, 1, "setting SO_REUSEADDR"},
      {six, IPPROTO_IPV6, IPV6_V6ONLY, options.v6only, "setting v6only"},
      {internet && options.freebind, ip, six ? ipv6_freebind : IP_FREEBIND, 1, "setting freebind"},
      {internet && options.transparent, ip, six ? ipv6_transparent : IP_TRANSPARENT, 1,
       "setting transparent"},
      {internet && options.mark.has_value(), SOL_SOCKET, SO_MARK, static_cast<int>(options.mark.value_or(0)),
       "setting mark"},
      {tcp && options.keepalive, SOL_SOCKET, SO_KEEPALIVE, 1, "setting keepalive"},
      {tcp && options.nodelay, IPPROTO_TCP, TCP_NODELAY, 1, "setting nodelay"},
      {tcp && options.fast_open.has_value(), IPPROTO_TCP, TCP_FASTOPEN, whole(options.fast_open.value_or(0)),
       "setting fast-open"},
      {tcp && options.defer_accept.has_value(), IPPROTO_TCP, TCP_DEFER_ACCEPT,
       static_cast<int>(defer.count()), "setting defer-accept"},
  };
  for (auto const& o : numbers) {
    if (auto done = set(fd, o); !done) return done;
  }
  if (options.non_blocking)
    if (auto done = set_non_blocking(fd); !done) return done;
  if (internet && !options.interface.empty()) {
    auto length = static_cast<socklen_t>(options.interface.size());
    if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.interface.data(), length) < 0) {
      return os_failure("binding to interface '" + options.interface + "'");
    }
  }
  if (auto done = set_buffer(fd, options.receive_buffer, SO_RCVBUFFORCE, SO_RCVBUF, "setting receive-buffer");
      !done) {
    return done;
  }
  return set_buffer(fd, options.send_buffer, SO_SNDBUFFORCE, SO_SNDBUF, "setting send-buffer");
}

}  // namespace handoff
