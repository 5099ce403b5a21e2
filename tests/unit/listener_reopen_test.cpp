#include "listeners.hpp"

using namespace handoff;
using namespace handoff::test;

TEST_CASE("a TCP listener that a service shut down opens again as the same socket") {
  auto how = GENERATE(int{SHUT_RDWR}, int{SHUT_RD});
  auto http = open_one(tcp());
  int before = http.fd();
  shut_by_a_service(http.fd(), how);
  REQUIRE_FALSE(client_of(http));
  CHECK(http.reopen() == reopening::reopened);
  CHECK(http.fd() == before);
  CHECK(client_of(http));
}

TEST_CASE("a Unix listener that a service shut down is replaced") {
  scratch_directory scratch;
  std::string path = scratch / "socket";
  auto type = GENERATE(socket_type::stream, socket_type::seqpacket, socket_type::datagram);
  auto how = GENERATE(int{SHUT_RDWR}, int{SHUT_RD});
  auto settings = local(path, type);
  settings.options.mode = 0640;
  {
    auto opened = open_one(settings);
    shut_by_a_service(opened.fd(), how);
    CHECK(opened.reopen() == reopening::replaced);
    CHECK(client_of(opened));
    CHECK(is_blocking(opened.fd()));
    CHECK(path_of(*bound_address(opened.fd())) == path);
    struct stat file;
    REQUIRE(::lstat(path.c_str(), &file) == 0);
    CHECK((file.st_mode & 07777) == 0640);
    CHECK(opened.reopen() == reopening::replaced);  // as often as a service does it
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("listen() alone does not revive a Unix listener: the fact that reopen() stands on") {
  scratch_directory scratch;
  auto opened = open_one(local(scratch / "socket"));
  shut_by_a_service(opened.fd());
  CHECK(::listen(opened.fd(), 5) == 0);
  CHECK_FALSE(client_of(opened));
}

TEST_CASE("systemd's Unix listener that a service shut down is replaced, and its file stays") {
  scratch_directory scratch;
  std::string path = scratch / "socket";
  auto type = GENERATE(socket_type::stream, socket_type::seqpacket, socket_type::datagram);
  auto systemds = open_one(local(path, type));
  {
    auto ours = listener::adopt(adopted_from_systemd("local", type), unique_fd(::dup(systemds.fd())));
    REQUIRE(ours);
    shut_by_a_service(ours->fd());
    CHECK(ours->reopen() == reopening::replaced);
    CHECK(client_of(*ours));
  }
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("an abstract listener opens again once the last dead socket is gone") {
  auto opened = open_one(local("@handoff reopen " + std::to_string(::getpid())));
  {
    holding_process service;
    shut_by_a_service(opened.fd());
    auto early = opened.reopen();
    REQUIRE_FALSE(early);
    CHECK_THAT(early.error().message(), Catch::Contains("Address already in use (held by ") &&
                                            Catch::EndsWith("pid " + std::to_string(service.pid) + ")"));
  }
  CHECK(opened.reopen() == reopening::replaced);
  CHECK(client_of(opened));
}

TEST_CASE("a UDP socket cannot be reopened, and nobody is to wait for it") {
  scratch_directory scratch;
  auto dns = open_one(udp());
  CHECK_FALSE(dns.can_be_reopened());
  CHECK(dns.reopen().error().message() == "reopening 'dns': a UDP socket stays shut");
  CHECK(open_one(tcp()).can_be_reopened());
  CHECK(open_one(local(scratch / "stream")).can_be_reopened());
  CHECK(open_one(local(scratch / "datagram", socket_type::datagram)).can_be_reopened());
}
