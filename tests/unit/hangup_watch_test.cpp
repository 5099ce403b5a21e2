#include "listeners.hpp"

#include <os/hangup_watch.hpp>

#include <map>

using namespace handoff;
using namespace handoff::test;

namespace {

struct watching {
  std::unique_ptr<loop> events = *loop::create();
  std::map<std::uint64_t, int> told;
  std::unique_ptr<hangup_watch> watch =
      *hangup_watch::create(*events, hangup::reading_too, [this](std::uint64_t key) { ++told[key]; });
};

}  // namespace

TEST_CASE("a shutdown by a service is told once, for the right listener, and again after reopening") {
  watching w;
  auto first = open_one(tcp());
  auto second = open_one(tcp());
  REQUIRE(w.watch->watch(1, first.fd()));
  REQUIRE(w.watch->watch(2, second.fd()));
  for (int times = 1; times <= 3; ++times) {
    shut_by_a_service(second.fd());
    CHECK(run_until(*w.events, [&] { return w.told[2] == times; }));
    run_what_is_ready(*w.events);
    CHECK(w.told[2] == times);
    REQUIRE(second.reopen());
    REQUIRE(w.watch->watch(2, second.fd()));
    run_what_is_ready(*w.events);
    CHECK(w.told[2] == times);
  }
  CHECK(w.told[1] == 0);
}

TEST_CASE("watching changes no flag of a shared socket") {
  watching w;
  auto http = open_one(tcp());
  REQUIRE(w.watch->watch(1, http.fd()));
  run_what_is_ready(*w.events);
  CHECK(is_blocking(http.fd()));
}

TEST_CASE("a filling accept queue wakes nobody") {
  scratch_directory scratch;
  watching w;
  auto http = open_one(tcp());
  auto local = listener::open({"local", unix_address{scratch / "socket"}, socket_type::stream, {}});
  REQUIRE(local);
  REQUIRE(w.watch->watch(1, http.fd()));
  REQUIRE(w.watch->watch(2, local->fd()));
  int turns = 0;
  auto counting = w.events->before_sleep([&] { ++turns; });
  // A child connects while the loop sleeps; its last act is the only thing that may wake the loop.
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  unique_fd finished(ends[0]);
  unique_fd telling(ends[1]);
  auto stop = w.events->on_fd(finished.get(), readiness_of_fd::readable, [&] { w.events->stop(); });
  auto at_http = bound_address(http.fd());
  auto at_local = bound_address(local->fd());
  pid_t child = start_child([&] {
    for (int i = 0; i < 50; ++i) {
      if (!connect_to(*at_http) || !connect_to(*at_local)) return 1;
    }
    return ::write(telling.get(), "x", 1) == 1 ? 0 : 1;
  });
  w.events->run();
  CHECK(exit_code_of(child) == 0);
  CHECK(http.queued() == 50u);
  CHECK(turns <= 2);
  CHECK(w.told.empty());
}

TEST_CASE("a Unix listener shut for reading only is noticed") {
  scratch_directory scratch;
  watching w;
  auto type = GENERATE(socket_type::stream, socket_type::seqpacket, socket_type::datagram);
  auto local = listener::open({"local", unix_address{scratch / "socket"}, type, {}});
  REQUIRE(local);
  REQUIRE(w.watch->watch(7, local->fd()));
  run_what_is_ready(*w.events);
  CHECK(w.told.empty());
  shut_by_a_service(local->fd(), SHUT_RD);
  CHECK(run_until(*w.events, [&] { return w.told[7] == 1; }));
  REQUIRE(local->reopen());
  REQUIRE(w.watch->watch(7, local->fd()));
  run_what_is_ready(*w.events);
  CHECK(w.told[7] == 1);
}

TEST_CASE("what was shut before it is watched is told as well, what is forgotten is not") {
  watching w;
  auto first = open_one(tcp());
  auto second = open_one(tcp());
  shut_by_a_service(first.fd());
  shut_by_a_service(second.fd());
  REQUIRE(w.watch->watch(1, first.fd()));
  REQUIRE(w.watch->watch(2, second.fd()));
  w.watch->forget(2);
  CHECK(run_until(*w.events, [&] { return w.told[1] == 1; }));
  run_what_is_ready(*w.events);
  CHECK(w.told[2] == 0);
}

TEST_CASE("a regular file cannot be watched") {
  watching w;
  unique_fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  auto refused = w.watch->watch(1, file.get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == std::errc::operation_not_permitted);
}
