#include "listeners.hpp"

#include <netinet/tcp.h>

#include <fstream>

using namespace handoff;
using namespace handoff::test;

namespace {

std::string refusal(listener_settings settings) {
  auto made = listener::open(std::move(settings));
  REQUIRE_FALSE(made);
  return made.error().message();
}

std::uint16_t port_of(int fd) {
  auto address = bound_address(fd);
  REQUIRE(address);
  return ntohs(reinterpret_cast<sockaddr_in const*>(&address->storage)->sin_port);
}

}  // namespace

TEST_CASE("a listener is open, blocks as configured, close-on-exec, with the configured options") {
  auto settings = tcp();
  settings.options.backlog = 77;
  settings.options.keepalive = true;
  settings.options.nodelay = true;
  settings.options.non_blocking = GENERATE(true, false);
  settings.options.receive_buffer = 65536;
  auto http = open_one(settings);
  CHECK(client_of(http));
  CHECK(is_close_on_exec(http.fd()));
  CHECK(backlog_of(http.fd()) == 77);
  CHECK(option(http.fd(), SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(http.fd(), IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(is_blocking(http.fd()) == !settings.options.non_blocking);
  CHECK(option(http.fd(), SOL_SOCKET, SO_RCVBUF) == 2 * 65536);
  CHECK(option(http.fd(), SOL_SOCKET, SO_REUSEPORT) == 0);
  CHECK(option(open_one(udp()).fd(), SOL_SOCKET, SO_REUSEADDR) == 0);
}

TEST_CASE("v6only decides whether IPv4 clients reach [::]") {
  for (bool only : {true, false}) {
    auto settings = tcp(0, "::");
    settings.options.v6only = only;
    auto http = open_one(settings);
    CHECK(option(http.fd(), IPPROTO_IPV6, IPV6_V6ONLY) == only);
    auto four = address_of(tcp(port_of(http.fd())));
    CHECK(static_cast<bool>(connect_to(*four)) == !only);
  }
}

TEST_CASE("options that need a word of the kernel fail with their name") {
  auto settings = tcp();
  settings.options.interface = "nosuch0";
  CHECK(refusal(settings) == "binding 'http' at 127.0.0.1:0: binding to interface 'nosuch0': No such device");
  auto freebind = tcp(0, "192.0.2.1");
  CHECK(refusal(freebind) == "binding 'http' at 192.0.2.1:0: bind: Cannot assign requested address");
  freebind.options.freebind = true;
  open_one(freebind);
  auto six = tcp(0, "2001:db8::1");
  six.options.freebind = true;
  open_one(six);
}

TEST_CASE("an address in use names its holder") {
  SECTION("another listener of this service") {
    auto http = open_one(tcp());
    std::uint16_t port = port_of(http.fd());
    CHECK(refusal(tcp(port, "0.0.0.0")) ==
          "binding 'http' at 0.0.0.0:" + std::to_string(port) +
              ": Address already in use (held by another listener of this service)");
  }
  SECTION("another process, even when it would share the port") {
    auto type = GENERATE(socket_type::stream, socket_type::datagram);
    unique_fd foreign(::socket(AF_INET, kernel_socket_type(type) | SOCK_CLOEXEC, 0));
    int on = 1;
    REQUIRE(::setsockopt(foreign.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    REQUIRE(::setsockopt(foreign.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    auto any = address_of(tcp());
    REQUIRE(::bind(foreign.get(), any->get(), any->length) == 0);
    if (type == socket_type::stream) REQUIRE(::listen(foreign.get(), 1) == 0);
    std::uint16_t port = port_of(foreign.get());
    holding_process holder;
    foreign.reset();
    std::string program;
    std::getline(std::ifstream("/proc/" + std::to_string(holder.pid) + "/comm"), program);
    CHECK_THAT(refusal(type == socket_type::stream ? tcp(port) : udp(port)),
               Catch::EndsWith("(held by " + program + ", pid " + std::to_string(holder.pid) + ")"));
  }
}

TEST_CASE("a socket file belongs to whom the configuration says") {
  scratch_directory scratch;
  auto type = GENERATE(socket_type::stream, socket_type::datagram, socket_type::seqpacket);
  std::string path = scratch / "socket";
  auto settings = local(path, type);
  settings.options.mode = 0620;
  if (is_root()) settings.options.user = "nobody";
  mode_t umask_before = ::umask(0022);
  {
    auto opened = open_one(settings);
    struct stat file;
    REQUIRE(::lstat(path.c_str(), &file) == 0);
    CHECK((file.st_mode & 07777) == 0620);
    CHECK(file.st_uid == (is_root() ? nobody : ::geteuid()));
    CHECK(client_of(opened));
    CHECK(::umask(0022) == 0022);
  }
  CHECK_FALSE(std::filesystem::exists(path));
  ::umask(umask_before);
}

TEST_CASE("a user that does not exist fails the listener") {
  scratch_directory scratch;
  auto settings = local(scratch / "socket");
  settings.options.user = "no such user";
  CHECK_THAT(refusal(settings), Catch::EndsWith("there is no user 'no such user'"));
  CHECK_FALSE(std::filesystem::exists(scratch / "socket"));
}

TEST_CASE("what is at a Unix path already") {
  scratch_directory scratch;
  std::string path = scratch / "socket";
  auto type = GENERATE(socket_type::stream, socket_type::datagram, socket_type::seqpacket);
  SECTION("a stale socket is replaced") {
    {
      unique_fd dead(::socket(AF_UNIX, kernel_socket_type(type), 0));
      auto address = unix_socket_address(path);
      REQUIRE(::bind(dead.get(), address->get(), address->length) == 0);
    }
    REQUIRE(std::filesystem::exists(path));
    CHECK(client_of(open_one(local(path, type))));
  }
  SECTION("a live socket is refused, and lives on") {
    auto first = open_one(local(path, type));
    CHECK(refusal(local(path, type)) ==
          "binding 'local' at unix:" + path +
              ": Address already in use (held by another listener of this service)");
    CHECK(client_of(first));
  }
  SECTION("another kind of live socket is refused") {
    auto first = open_one(local(path, type));
    auto other = type == socket_type::stream ? socket_type::datagram : socket_type::stream;
    CHECK_THAT(refusal(local(path, other)), Catch::Contains("Address already in use"));
  }
  SECTION("any other file is refused, and stays") {
    std::ofstream(path) << "precious";
    CHECK_THAT(refusal(local(path, type)), Catch::EndsWith(path + " exists and is not a socket"));
    CHECK(std::filesystem::file_size(path) == 8);
  }
}

TEST_CASE("a socket file that somebody else replaced is not removed") {
  scratch_directory scratch;
  std::string path = scratch / "socket";
  {
    auto opened = open_one(local(path));
    std::filesystem::remove(path);
    std::ofstream(path) << "somebody else's";
  }
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("an abstract name leaves no file and ends with its socket") {
  std::string name = "@handoff test " + std::to_string(::getpid());
  auto opened = open_one(local(name));
  CHECK(client_of(opened));
  CHECK_THAT(refusal(local(name)), Catch::Contains("held by another listener of this service"));
  CHECK_FALSE(std::filesystem::exists(name));
}

TEST_CASE("all listeners come up or none does") {
  scratch_directory scratch;
  auto taken = open_one(tcp());
  std::vector<listener_settings> wanted{local(scratch / "socket"), adopted_from_systemd("web"),
                                        tcp(port_of(taken.fd()))};
  std::vector<named_descriptor> adopted;
  auto passed = open_one(tcp());
  adopted.push_back({"web", unique_fd(::dup(passed.fd()))});
  std::size_t before = open_descriptors();
  CHECK_FALSE(open_listeners(wanted, adopted));
  CHECK(open_descriptors() == before);
  CHECK_FALSE(std::filesystem::exists(scratch / "socket"));
  CHECK(adopted.size() == 1);

  wanted.pop_back();
  auto opened = open_listeners(wanted, adopted);
  REQUIRE(opened);
  REQUIRE(opened->size() == 2);
  CHECK(opened->at(0).name() == "local");
  CHECK(client_of(opened->at(1)));
  CHECK(is_close_on_exec(opened->at(1).fd()));
  CHECK(adopted.empty());
}

TEST_CASE("what systemd passed must be what is configured") {
  scratch_directory scratch;
  auto adopting = [](listener_settings const& wanted, int fd, std::string name, int copies = 1) {
    std::vector<named_descriptor> adopted;
    for (int i = 0; i < copies; ++i) adopted.push_back({name, unique_fd(::dup(fd))});
    auto opened = open_listeners(std::span(&wanted, 1), adopted);
    return opened ? std::string("adopted") : opened.error().message();
  };
  auto http = open_one(tcp());
  auto client = client_of(http);
  CHECK(adopting(adopted_from_systemd("web"), http.fd(), "web") == "adopted");
  CHECK(adopting(adopted_from_systemd("web"), http.fd(), "mail") == "adopting 'web': systemd passed 'mail'");
  CHECK(adopting(adopted_from_systemd("web"), http.fd(), "", 0) ==
        "adopting 'web': systemd passed no socket");
  CHECK(adopting(adopted_from_systemd("web", socket_type::datagram), http.fd(), "web") ==
        "adopting 'web': it is a stream socket, a datagram socket is configured");
  CHECK(adopting(adopted_from_systemd("web"), client.get(), "web") ==
        "adopting 'web': it is a connection, not a listening socket");
  CHECK_THAT(adopting(adopted_from_systemd("web"), STDIN_FILENO, "web"),
             Catch::StartsWith("adopting 'web': asking what it is"));
  CHECK_THAT(adopting(adopted_from_systemd("web"), http.fd(), "web", 2), Catch::Contains("more than one"));
  CHECK(adopting(adopted_from_systemd("dns", socket_type::datagram), open_one(udp()).fd(), "dns") ==
        "adopted");
}

TEST_CASE("systemd's socket file is not ours to remove, our own taken over is") {
  scratch_directory scratch;
  std::string path = scratch / "socket";
  auto original = open_one(local(path));
  { CHECK(listener::adopt(adopted_from_systemd("local"), unique_fd(::dup(original.fd())))); }
  CHECK(std::filesystem::exists(path));
  { CHECK(listener::adopt(local(path), unique_fd(::dup(original.fd())))); }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a listener that was shut while nobody watched opens when it is adopted") {
  auto http = open_one(tcp());
  shut_by_a_service(http.fd());
  REQUIRE_FALSE(client_of(http));
  auto again = listener::adopt(tcp(), unique_fd(::dup(http.fd())));
  REQUIRE(again);
  CHECK(client_of(*again));
}

TEST_CASE("the accept queue is counted where the kernel tells") {
  scratch_directory scratch;
  auto http = open_one(tcp());
  CHECK(http.queued() == 0u);
  std::vector<unique_fd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(client_of(http));
  CHECK(http.queued() == 3u);
  CHECK_FALSE(open_one(udp()).queued());
  CHECK_FALSE(open_one(local(scratch / "socket")).queued());
}

TEST_CASE("the configured backlog comes back after a service overrode it") {
  auto settings = tcp();
  settings.options.backlog = 99;
  auto http = open_one(settings);
  REQUIRE(::listen(http.fd(), 5) == 0);
  REQUIRE(backlog_of(http.fd()) == 5);
  CHECK(http.restore_backlog());
  CHECK(backlog_of(http.fd()) == 99);
  CHECK(open_one(udp()).restore_backlog());
}

TEST_CASE("an unprivileged supervisor opens what it may, and is told what it may not") {
  if (!has_privileges()) return;
  int failed = run_as_nobody([] {
    if (!listener::open(tcp())) return 1;
    auto low = listener::open(tcp(1, "127.0.0.1"));
    // Where the system allows every port there is nothing to refuse.
    if (!low && low.error().message() != "binding 'http' at 127.0.0.1:1: bind: Permission denied") return 2;
    auto marked = tcp();
    marked.options.mark = 1;
    auto refused = listener::open(marked);
    return !refused && refused.error().code == std::errc::operation_not_permitted ? 0 : 3;
  });
  CHECK(failed == 0);
}
