// What load to put on what.
#pragma once

#include <base/error.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace handoff::load {

enum class transport { tcp, unix_stream, udp };

struct target {
  transport how = transport::tcp;
  sockaddr_storage address{};
  socklen_t length = 0;
  std::string host;  // for the Host header

  bool ipv4() const { return address.ss_family == AF_INET; }
};

// "127.0.0.1:80", "[::1]:80", "udp://127.0.0.1:53", "unix:/path", "unix:@abstract"; hosts are numeric.
result<target> parse_target(std::string_view text);

struct plan {
  target where;
  std::string path = "/";
  unsigned clients = 64;  // at most so many requests in flight
  unsigned threads = 1;   // the clients, and the rate, are divided among them
  double rate = 0;  // requests a second, each at its planned time; 0: each client starts as soon as it can
  bool keep_alive = false;  // otherwise a new connection (for UDP: a new source port) each time
  unsigned sources =
      8;  // 127.0.0.2 and on, taken in turn when the target is in 127/8; 1: the default address
  std::chrono::milliseconds timeout{5000};  // for one request, from its actual start
  std::optional<std::chrono::nanoseconds> duration;
  std::optional<std::uint64_t> requests;
  std::string expect;  // text that every reply must contain, when not empty
  std::string version_header = "X-Handoff-Generation";
  // A POSIX extended regular expression; its first group in the reply's body (or datagram) is the version
  // then.
  std::string version_pattern;
  // Called once for each version at its first reply, from a thread of the generator.
  std::function<void(std::string_view version, std::int64_t first_ns)> on_version;
};

constexpr unsigned clients_max = 50000;
constexpr unsigned threads_max = 64;
constexpr unsigned sources_max = 250;

}  // namespace handoff::load
