// Sockets of probes: bound where the listener can be reached from, with a port that is known.
#include <os/probe_socket.hpp>

#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <unistd.h>

using namespace handoff;

namespace {

std::uint16_t port_of(socket_address const& a) {
  if (a.family() == AF_INET) return ntohs(reinterpret_cast<sockaddr_in const*>(a.get())->sin_port);
  return ntohs(reinterpret_cast<sockaddr_in6 const*>(a.get())->sin6_port);
}

}  // namespace

TEST_CASE("a probe comes from where it goes to, and from loopback to a listener on every address") {
  auto [host, expected] = GENERATE(table<std::string, std::string>({{"127.0.0.1", "127.0.0.1"},
                                                                    {"127.1.2.3", "127.1.2.3"},
                                                                    {"0.0.0.0", "127.0.0.1"},
                                                                    {"::", "::1"},
                                                                    {"::1", "::1"}}));
  CAPTURE(host);
  auto made = bind_probe({.name = "l", .address = inet_address{host, 80}});
  if (!made && host.find(':') != std::string::npos) {
    WARN("skipped: no IPv6 here");
    return;
  }
  REQUIRE(made);
  CHECK(made->target == inet_address{expected, 80});
  CHECK(port_of(made->from) != 0);
  auto wanted = address_of({.name = "l", .address = inet_address{expected, port_of(made->from)}});
  auto bound = bound_address(made->fd.get());
  REQUIRE(wanted);
  REQUIRE(bound);
  CHECK(std::string(reinterpret_cast<char const*>(bound->get()), bound->length) ==
        std::string(reinterpret_cast<char const*>(wanted->get()), wanted->length));
}

TEST_CASE("only a TCP address can be probed") {
  CHECK_FALSE(bind_probe({.name = "l", .address = unix_address{"/x"}}));
  CHECK_FALSE(bind_probe({.name = "l", .address = systemd_address{}}));
  CHECK_FALSE(
      bind_probe({.name = "l", .address = inet_address{"127.0.0.1", 80}, .type = socket_type::datagram}));
  CHECK_FALSE(bind_probe({.name = "l", .address = inet_address{"192.0.2.1", 80}}));  // not this machine's
}
