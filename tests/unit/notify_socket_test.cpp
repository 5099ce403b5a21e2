#include "edge_support.hpp"

#include <os/notify_socket.hpp>

#include <sys/resource.h>

using namespace handoff;
using namespace handoff::test;

namespace {

struct received {
  notify_sender from;
  std::string bytes;
  std::vector<unique_fd> descriptors;
};

struct receiving {
  scratch_directory scratch;
  std::string path = scratch / "1.1";
  std::unique_ptr<loop> events = *loop::create();
  std::vector<pid_t> born;
  descriptor_disposer dispose{[this](pid_t child) { born.push_back(child); }};
  std::vector<received> got;
  std::unique_ptr<notify_socket> socket;

  explicit receiving(uid_t user = ::geteuid()) {
    auto made =
        notify_socket::create(*events, path, user, dispose, [this](auto const& from, auto bytes, auto fds) {
          got.push_back({from, std::string(bytes), std::move(fds)});
        });
    INFO((made ? "" : made.error().message()));
    REQUIRE(made);
    socket = std::move(*made);
  }
  ~receiving() {
    for (pid_t child : born) ::waitpid(child, nullptr, 0);
  }
};

}  // namespace

TEST_CASE("a notify datagram arrives with its sender and its descriptors") {
  receiving r;
  std::size_t before = open_descriptors();
  unique_fd sent(::socket(AF_INET, SOCK_STREAM, 0));
  pid_t child = start_child([&] { return send_datagram(r.path, "READY=1", {sent.get(), sent.get()}); });
  REQUIRE(exit_code_of(child) == 0);
  REQUIRE(run_until(*r.events, [&] { return !r.got.empty(); }));
  REQUIRE(r.got.size() == 1);
  CHECK(r.got[0].bytes == "READY=1");
  CHECK(r.got[0].from.user == ::geteuid());
  CHECK(r.got[0].from.pid == child);
  REQUIRE(r.got[0].descriptors.size() == 2);
  CHECK(is_close_on_exec(r.got[0].descriptors[0].get()));
  CHECK(is_close_on_exec(r.got[0].descriptors[1].get()));
  sent.reset();
  r.got.clear();
  CHECK(open_descriptors() == before);
}

TEST_CASE("a datagram at the limit passes, one past it is dropped with its descriptors") {
  receiving r;
  unique_fd sent(::socket(AF_INET, SOCK_STREAM, 0));
  std::size_t before = open_descriptors();
  REQUIRE(send_datagram(r.path, std::string(notify_socket::longest_datagram, 'x')) == 0);
  REQUIRE(send_datagram(r.path, std::string(notify_socket::longest_datagram + 1, 'x'), {sent.get()}) == 0);
  run_what_is_ready(*r.events);
  REQUIRE(r.got.size() == 1);
  CHECK(r.got[0].bytes.size() == notify_socket::longest_datagram);
  CHECK(r.socket->seen().delivered == 1);
  CHECK(r.socket->seen().broken == 1);
  CHECK(r.born.size() == 1);
  CHECK(open_descriptors() == before);
}

TEST_CASE("descriptors that do not arrive whole are dropped and counted") {
  receiving r;
  // The other end of the conversation has room, this process has not: the kernel cuts the control message.
  int failed = exit_code_of(start_child([&] {
    if (send_datagram(r.path, "FDSTORE=1", {0, 0, 0, 0}) != 0) return 1;
    rlimit few{open_descriptors(), open_descriptors()};
    few.rlim_cur -= 1;  // the listing itself had one open: room for one descriptor of four
    if (::setrlimit(RLIMIT_NOFILE, &few) < 0) return 2;
    r.socket->receive();
    return r.got.empty() && r.socket->seen().broken == 1 ? 0 : 3;
  }));
  CHECK(failed == 0);
}

TEST_CASE("a service under another user may tell, and so may root; strangers cannot even send") {
  if (!has_privileges()) return;
  SECTION("the service's user") {
    receiving r(nobody);
    CHECK(run_as_nobody([&] { return send_datagram(r.path, "READY=1"); }) == 0);
    CHECK(send_datagram(r.path, "STATUS=root") == 0);
    run_what_is_ready(*r.events);
    REQUIRE(r.got.size() == 2);
    CHECK(r.got[0].from.user == nobody);
    CHECK(r.got[0].from.group == nobody);
    CHECK(r.got[1].from.user == 0);
  }
  SECTION("a stranger is kept out by the file's mode, and counted if that is opened") {
    receiving r;
    unique_fd sent(::socket(AF_INET, SOCK_STREAM, 0));
    CHECK(run_as_nobody([&] { return send_datagram(r.path, "READY=1"); }) == EACCES);
    REQUIRE(::chmod(r.path.c_str(), 0666) == 0);
    std::size_t before = open_descriptors();
    CHECK(run_as_nobody([&] { return send_datagram(r.path, "READY=1", {sent.get()}); }) == 0);
    run_what_is_ready(*r.events);
    CHECK(r.got.empty());
    CHECK(r.socket->seen().strangers == 1);
    CHECK(r.born.size() == 1);
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("a flood is taken in portions") {
  scratch_directory scratch;
  auto events = *loop::create();
  descriptor_disposer dispose([](pid_t) {});
  std::string path = scratch / "flood";
  int sent = 1;
  // Each datagram brings the next, so only the bound ends a call.
  auto socket = notify_socket::create(*events, path, ::geteuid(), dispose, [&](auto const&, auto, auto) {
    if (sent < 1000 && send_datagram(path, "WATCHDOG=1") == 0) ++sent;
  });
  REQUIRE(socket);
  REQUIRE(send_datagram(path, "WATCHDOG=1") == 0);
  CHECK((*socket)->receive() == 32);
  CHECK(run_until(*events, [&] { return (*socket)->seen().delivered == 1000; }));
}

TEST_CASE("the file of a notify socket comes and goes with it, also when a successor takes it over") {
  receiving r;
  CHECK(std::filesystem::exists(r.path));
  auto taken = notify_socket::adopt(*r.events, unique_fd(::dup(r.socket->fd())), ::geteuid(), r.dispose,
                                    [](auto const&, auto, auto) {});
  REQUIRE(taken);
  CHECK((*taken)->path() == r.path);
  taken->reset();
  CHECK_FALSE(std::filesystem::exists(r.path));
}

TEST_CASE("a path that no Unix socket can have is refused with its length") {
  auto events = *loop::create();
  descriptor_disposer dispose([](pid_t) {});
  std::string path = "/tmp/" + std::string(110, 'x');
  auto made = notify_socket::create(*events, path, 0, dispose, [](auto const&, auto, auto) {});
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error().message(), Catch::StartsWith("creating the notify socket " + path) &&
                                         Catch::Contains("at most 107 bytes") && Catch::EndsWith("has 115"));
}
