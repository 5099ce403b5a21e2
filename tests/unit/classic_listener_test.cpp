#include "steered.hpp"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cstring>
#include <fstream>

using namespace handoff;
using namespace handoff::test;

namespace {

constexpr auto classic = steering_method::classic;

bool classic_works() {
  if (!can_steer_by_classic().works) WARN("skipped: " << can_steer_by_classic().why_not);
  return can_steer_by_classic().works;
}

traffic_split all_to(generation_number who) { return {who, {{who, full_weight}}, {}, false}; }

// A network of its own, in which tcp_migrate_req is what a test wants.
class own_network {
 public:
  own_network()
      : before_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)), is_own(::unshare(CLONE_NEWNET) == 0) {
    if (!is_own) {
      WARN("skipped: unshare(CLONE_NEWNET) is not permitted");
      return;
    }
    unique_fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP | IFF_RUNNING;
    REQUIRE(::ioctl(any.get(), SIOCSIFFLAGS, &loopback) == 0);
  }
  ~own_network() {
    if (is_own) ::setns(before_.get(), CLONE_NEWNET);
  }
  void let_migrate(bool migrates) const {
    std::ofstream("/proc/sys/net/ipv4/tcp_migrate_req") << migrates << std::flush;
    REQUIRE(tcp_migrates_requests() == migrates);
  }
  own_network(own_network const&) = delete;
  own_network& operator=(own_network const&) = delete;

 private:
  unique_fd before_;

 public:
  bool const is_own;
};

}  // namespace

TEST_CASE("classic: what waits for a generation that leaves moves, or is told as lost", "[classic]") {
  if (!classic_works()) return;
  bool migrates = GENERATE(false, true), until_now = GENERATE(false, true);
  CAPTURE(migrates, until_now);
  own_network mine;
  if (!mine.is_own) return;
  mine.let_migrate(until_now);
  auto http = open_steered(steered_tcp(), {g1, g2}, classic);
  auto queued = clients(50, *http);
  comes_to(*http, g1, 50);
  mine.let_migrate(migrates);  // the last moment counts
  CHECK(http->moves_waiting() == migrates);
  holding_process holder;
  require(http->apply(all_to(g2)));
  CHECK(waiting(*http, g1) == 50);  // a weight moves nothing
  require(http->shut(g1));
  CHECK(http->queued(g1).has_value() == !migrates);  // it is open for who still takes from it
  CHECK_FALSE(http->reopen(g1));
  CHECK(http->remove(g1).unaccepted_connections == (migrates ? 0 : 50));
  CHECK_FALSE(http->fd(g1));
  if (migrates) {
    comes_to(*http, g2, 50);
    return serve_all(*http->fd(g2), queued);
  }
  char answer = 0;
  for (auto const& client : queued) CHECK(::recv(client.get(), &answer, 1, 0) == -1);
  auto later = clients(20, *http);
  comes_to(*http, g2, 20);
}

TEST_CASE("classic: a door that is shut with nothing behind it is out of the group", "[classic]") {
  if (!classic_works()) return;
  auto http = open_steered(steered_tcp(), {g1, g2}, classic);
  auto [leaves, stays] = GENERATE(table<generation_number, generation_number>({{g1, g2}, {g2, g1}}));
  require(http->apply(all_to(stays)));
  require(http->shut(leaves));
  CHECK_FALSE(http->queued(leaves));
  auto held = clients(50, *http);
  comes_to(*http, stays, 50);
  auto left = http->remove(leaves);
  CHECK(left.unaccepted_connections == 0);
}

TEST_CASE("classic: the socket without an owner keeps what comes for the next generation", "[classic]") {
  if (!classic_works()) return;
  auto http = open_steered(steered_tcp(), 7, classic);
  auto held = clients(10, *http);
  require(http->add(g1));
  comes_to(*http, g1, 10);
  require(http->apply(all_to(g1)));
  CHECK(http->remove(g1).unaccepted_connections == 0);
  CHECK_FALSE(http->fd(g1));
  for (auto& client : clients(10, *http)) held.push_back(std::move(client));
  require(http->add(g2));
  comes_to(*http, g2, 20);
  serve_all(*http->fd(g2), held);
}

TEST_CASE("classic: what comes to the last UDP socket is for the next generation as well", "[classic]") {
  if (!classic_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2}, classic);
  auto leaves_first = GENERATE(g1, g2);
  auto last = leaves_first == g1 ? g2 : g1;
  require(dns->apply(all_to(last)));
  for (auto who : {leaves_first, last}) {
    dns->retire(who);
    CHECK(dns->remove(who).unread_datagrams == 0);
  }
  auto flows = clients(20, *dns);
  say(flows);
  require(dns->add(g3));
  CHECK(read_all(*dns->fd(g3)) == 20);
  require(dns->add(generation_number{4}));
  require(dns->apply(all_to(g3)));
  say(flows);
  CHECK(read_all(*dns->fd(g3)) == 20);
}

TEST_CASE("classic: a generation that comes takes over the slot of one that is gone", "[classic]") {
  if (!classic_works()) return;
  auto http = open_steered(steered_tcp(), {g1, g2}, classic);
  auto held = clients(10, *http);
  comes_to(*http, g1, 10);
  require(http->apply(all_to(g2)));
  auto third = http->add(g3);
  REQUIRE_FALSE(third);
  CHECK(third.error().message() == "adding generation 3 to 'http': all 2 slots are taken");
  http->retire(g1);
  require(http->add(g3));
  CHECK_FALSE(http->fd(g1));
  CHECK(http->remove(g1).unaccepted_connections == 0);  // it has none any more
  comes_to(*http, g3, 10);
  serve_all(*http->fd(g3), held);
  auto later = clients(10, *http);
  comes_to(*http, g2, 10);
}

TEST_CASE("classic: generations that come and go leave the traffic and the descriptors alone", "[classic]") {
  if (!classic_works()) return;
  auto type = GENERATE(socket_type::stream, socket_type::datagram);
  bool tcp = type == socket_type::stream;
  auto listener = open_steered(tcp ? steered_tcp() : steered_udp(), {g1, g2}, classic);
  auto before = open_descriptors();
  generation_number live = g1, other = g2;
  auto only_live_gets_clients = [&] {
    auto held = clients(8, *listener);
    if (!tcp) {
      say(held);
      CHECK(read_all(*listener->fd(live)) == 8);
    } else if (comes_to(*listener, live, 8)) {
      CHECK(total(accept_all(*listener->fd(live))) == 8);
    }
  };
  for (std::uint32_t n = 3; n < 30; ++n) {
    // The first and the last of the group leave in turn, with and without a change of who is live.
    if (n % 3 != 0) std::swap(live, other);
    require(listener->apply(all_to(live)));
    if (n % 2 == 0) require(listener->shut(other));
    listener->retire(other);
    listener->remove(other);
    only_live_gets_clients();
    other = generation_number{n};
    require(listener->add(other));
    only_live_gets_clients();
    CHECK((tcp ? waiting(*listener, other) == 0 : read_all(*listener->fd(other)) == 0));
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("classic: a slot that a service shut opens again and finds its place", "[classic]") {
  if (!classic_works()) return;
  auto shuts = GENERATE(g1, g2);
  auto http = open_steered(steered_tcp(), {g1, g2}, classic);
  auto other = shuts == g1 ? g2 : g1;
  require(http->apply(all_to(shuts)));
  shut_by_a_service(*http->fd(shuts));
  require(http->restore_backlogs());
  CHECK_FALSE(http->queued(shuts));
  auto meanwhile = clients(5, *http);
  comes_to(*http, other, 5);
  require(http->reopen(shuts));
  require(http->reopen(shuts));  // nothing to do
  auto later = clients(5, *http);
  comes_to(*http, shuts, 5);
  comes_to(*http, other, 5);
  require(http->apply(all_to(other)));
  auto last = clients(5, *http);
  comes_to(*http, other, 10);
}

TEST_CASE("classic: the only slot opens again, also for the generation after it", "[classic]") {
  if (!classic_works()) return;
  auto http = open_steered(steered_tcp(), {g1}, classic);
  shut_by_a_service(*http->fd(g1));
  bool by_itself = GENERATE(true, false);
  if (by_itself)
    require(http->reopen(g1));
  else
    http->remove(g1);
  require(http->add(g2));
  require(http->apply(all_to(g2)));
  auto held = clients(5, *http);
  comes_to(*http, g2, 5);
  auto one_more = http->add(g3);
  CHECK(bool(one_more) == !by_itself);
}

TEST_CASE("classic: a UDP socket that a service shut is not given to the next generation", "[classic]") {
  if (!classic_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2}, classic);
  bool shuts = GENERATE(true, false);
  int fd = *dns->fd(g1);
  if (shuts) ::shutdown(fd, SHUT_RDWR);  // ENOTCONN, and it hangs up all the same
  auto flows = clients(20, *dns);
  say(flows);
  require(dns->apply(all_to(g2)));
  dns->retire(g1);
  CHECK(dns->remove(g1).unread_datagrams == 20);
  require(dns->add(g3));
  pollfd look{*dns->fd(g3), POLLIN | POLLRDHUP, 0};
  CHECK(::poll(&look, 1, 0) == 0);
  say(flows);
  CHECK(read_all(*dns->fd(g2)) == 20);
  require(dns->apply(all_to(g3)));
  say(flows);
  CHECK(read_all(*dns->fd(g3)) == 20);
}

TEST_CASE("classic: an address that somebody holds is not steered", "[classic]") {
  if (!classic_works()) return;
  auto first = open_steered(steered_tcp(), 7, classic);
  auto second = steered_listener::open(first->settings(), 7, classic);
  REQUIRE_FALSE(second);
  CHECK_THAT(second.error().message(), Catch::StartsWith("binding 'http' at "));
}
