#include "edge_support.hpp"

#include <os/socket_address.hpp>

using namespace handoff;
using namespace handoff::test;

TEST_CASE("configured addresses become the kernel's") {
  auto [says, host, family] = GENERATE(table<char const*, char const*, int>({
      {"IPv4", "127.0.0.1", AF_INET},
      {"every IPv4 address", "0.0.0.0", AF_INET},
      {"IPv6", "2001:db8::1", AF_INET6},
      {"every address", "::", AF_INET6},
      {"a link-local address with its interface", "fe80::1%lo", AF_INET6},
      {"a name is nobody's address", "localhost", AF_UNSPEC},
      {"nothing is nobody's address", "", AF_UNSPEC},
  }));
  CAPTURE(says);
  auto made = address_of({"http", inet_address{host, 80}, socket_type::stream, {}});
  CHECK(made.has_value() == (family != AF_UNSPEC));
  if (made) CHECK(made->family() == family);
}

TEST_CASE("a Unix path is bounded by the kernel's structure") {
  std::string longest(longest_socket_path, 'x');
  auto made = unix_socket_address(longest);
  REQUIRE(made);
  CHECK(path_of(*made) == longest);
  auto refused = unix_socket_address(longest + "x");
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message(), Catch::EndsWith("has 108"));
  CHECK_FALSE(unix_socket_address(""));
}

TEST_CASE("paths come back from the kernel as they are configured") {
  scratch_directory scratch;
  bool abstract = GENERATE(false, true);
  std::string path = abstract ? "@handoff address " + std::to_string(::getpid()) : scratch / "socket";
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = unix_socket_address(path);
  REQUIRE(::bind(fd.get(), address->get(), address->length) == 0);
  CHECK(path_of(*bound_address(fd.get())) == path);
}

TEST_CASE("other sockets have no path") {
  unique_fd unbound(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  unique_fd internet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(path_of(*bound_address(unbound.get())).empty());
  CHECK(path_of(*bound_address(internet.get())).empty());
}
