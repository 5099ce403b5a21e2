#include "edge_support.hpp"

#include <os/listener.hpp>
#include <os/service_manager.hpp>

#include <time.h>

#include <array>

using namespace handoff;
using namespace handoff::test;

namespace {

// Stands in for systemd: what it was told, datagram by datagram.
struct fake_manager {
  scratch_directory scratch;
  std::string path = scratch / "notify";
  unique_fd fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};

  fake_manager() {
    auto address = unix_socket_address(path);
    REQUIRE(::bind(fd.get(), address->get(), address->length) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~fake_manager() { ::unsetenv("NOTIFY_SOCKET"); }

  std::string heard() {
    std::array<char, 4096> bytes;
    ssize_t length = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    return length < 0 ? std::string() : std::string(bytes.data(), static_cast<std::size_t>(length));
  }
};

}  // namespace

TEST_CASE("without systemd everything succeeds and nothing is passed") {
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("WATCHDOG_USEC");
  CHECK(service_manager::ready("serving"));
  CHECK(service_manager::watchdog());
  CHECK(service_manager::extend_timeout(std::chrono::seconds(1)));
  auto adopted = service_manager::adopted_descriptors();
  REQUIRE(adopted);
  CHECK(adopted->empty());
  CHECK_FALSE(service_manager::watchdog_interval());
}

TEST_CASE("systemd is told one thing a datagram") {
  fake_manager systemd;
  REQUIRE(service_manager::ready("generation 1 serves"));
  CHECK(systemd.heard() == "READY=1\nSTATUS=generation 1 serves");
  REQUIRE(service_manager::stopping("draining"));
  CHECK(systemd.heard() == "STOPPING=1\nSTATUS=draining");
  REQUIRE(service_manager::status("baking"));
  CHECK(systemd.heard() == "STATUS=baking");
  REQUIRE(service_manager::watchdog());
  CHECK(systemd.heard() == "WATCHDOG=1");
  REQUIRE(service_manager::extend_timeout(std::chrono::seconds(30)));
  CHECK(systemd.heard() == "EXTEND_TIMEOUT_USEC=30000000");
  REQUIRE(service_manager::forget("http"));
  CHECK(systemd.heard() == "FDSTOREREMOVE=1\nFDNAME=http");
}

TEST_CASE("RELOADING carries the time of the call") {
  fake_manager systemd;
  auto microseconds = [] {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1000;
  };
  auto before = microseconds();
  REQUIRE(service_manager::reloading("upgrading"));
  auto after = microseconds();
  std::string told = systemd.heard();
  std::string start = "RELOADING=1\nMONOTONIC_USEC=";
  REQUIRE_THAT(told, Catch::StartsWith(start) && Catch::EndsWith("\nSTATUS=upgrading"));
  auto stamp = std::stoull(told.substr(start.size()));
  CHECK(stamp >= before);
  CHECK(stamp <= after);
}

TEST_CASE("a status cannot say anything but a status") {
  fake_manager systemd;
  REQUIRE(service_manager::status("refused\nMAINPID=1\r\nREADY=1\x1B"));
  CHECK(systemd.heard() == "STATUS=refused MAINPID=1  READY=1?");
  REQUIRE(service_manager::status(std::string(100'000, 'x')));
  CHECK(systemd.heard().size() == 7 + 512);
}

TEST_CASE("descriptors go to systemd's store with their name") {
  fake_manager systemd;
  REQUIRE(service_manager::store("http", systemd.fd.get()));
  CHECK(systemd.heard() == "FDSTORE=1\nFDPOLL=0\nFDNAME=http");
}

TEST_CASE("a manager that is gone is an error with a story") {
  ::setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
  auto told = service_manager::ready("serving");
  ::unsetenv("NOTIFY_SOCKET");
  REQUIRE_FALSE(told);
  CHECK(told.error().message() == "telling systemd that we are ready: No such file or directory");
}

TEST_CASE("the watchdog is fed twice as often as it asks") {
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  CHECK(service_manager::watchdog_interval() == std::chrono::milliseconds(1500));
  ::setenv("WATCHDOG_PID", "1", 1);
  CHECK_FALSE(service_manager::watchdog_interval());
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
}

TEST_CASE("sockets that systemd passed come with their names, once, close-on-exec") {
  unique_fd one(::socket(AF_INET, SOCK_STREAM, 0)), two(::socket(AF_INET, SOCK_DGRAM, 0));
  int failed = exit_code_of(start_child([&] {
    unique_fd kept_one(::fcntl(one.get(), F_DUPFD, 10)), kept_two(::fcntl(two.get(), F_DUPFD, 10));
    ::dup2(kept_one.get(), 3);
    ::dup2(kept_two.get(), 4);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "2", 1);
    ::setenv("LISTEN_FDNAMES", "http:dns", 1);
    auto adopted = service_manager::adopted_descriptors();
    if (!adopted || adopted->size() != 2) return 1;
    if (adopted->at(0).name != "http" || adopted->at(0).fd.get() != 3) return 2;
    if (adopted->at(1).name != "dns" || adopted->at(1).fd.get() != 4) return 3;
    if (!is_close_on_exec(3) || !is_close_on_exec(4)) return 4;
    if (::getenv("LISTEN_FDS") != nullptr || ::getenv("LISTEN_PID") != nullptr) return 5;
    auto again = service_manager::adopted_descriptors();
    return again && again->empty() ? 0 : 6;
  }));
  CHECK(failed == 0);
}
