#include "steered.hpp"

using namespace handoff;
using namespace handoff::test;

namespace {

std::uint64_t got(steered_listener const& l, generation_number who) { return l.counts(who)->datagrams; }

}  // namespace

TEST_CASE("UDP flows stay where they are through a switch, new ones go to the new generation") {
  if (!steering_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2});
  auto flows = clients(100, *dns);
  say(flows);
  CHECK(read_all(*dns->fd(g1)) == 100);
  require(dns->apply({g2, {{g2, full_weight}}, {}, false}));
  auto fresh = clients(100, *dns);
  say(fresh);
  say(flows);
  say(flows);
  CHECK(read_all(*dns->fd(g1)) == 200);
  CHECK(read_all(*dns->fd(g2)) == 100);
  CHECK(got(*dns, g1) == 300);
  CHECK(got(*dns, g2) == 100);
  CHECK(dns->counts(g2)->connections == 0);
}

TEST_CASE("UDP flows of a generation that leaves are chosen for anew, what it did not read is counted") {
  if (!steering_works()) return;
  bool only_shut = GENERATE(true, false);
  auto dns = open_steered(steered_udp(), {g1, g2});
  auto flows = clients(20, *dns);
  say(flows);
  holding_process holder;
  if (only_shut) {
    require(dns->shut(g1));
  } else {
    CHECK(dns->remove(g1).unread_datagrams == 20);
  }
  say(flows);
  CHECK(got(*dns, g2) == 20);
  if (only_shut) CHECK(dns->remove(g1).unread_datagrams == 20);
  CHECK(dns->remove(g1).unread_datagrams == 0);
}

TEST_CASE("a slot's new owner does not inherit UDP flows") {
  if (!steering_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2});
  auto flows = clients(20, *dns);
  say(flows);
  dns->remove(g1);
  require(dns->add(g3));  // in the same slot
  CHECK(got(*dns, g3) == 0);
  CHECK_FALSE(dns->idle(g3));
  require(dns->apply({g2, {{g2, full_weight}}, {}, false}));
  say(flows);
  CHECK(got(*dns, g3) == 0);
  CHECK(got(*dns, g2) == 20);
}

TEST_CASE("a UDP flow that was silent for the flow timeout is over") {
  if (!steering_works()) return;
  auto settings = steered_udp();
  settings.flow_timeout = duration(20);
  auto dns = open_steered(settings, {g1, g2});
  CHECK_FALSE(dns->idle(g1));
  auto flows = clients(10, *dns);
  say(flows);
  require(dns->apply({g2, {{g2, full_weight}}, {}, false}));
  auto soon = dns->idle(g1);
  REQUIRE(soon);
  REQUIRE(eventually([&] { return *dns->idle(g1) > duration(20); }));
  CHECK(*dns->idle(g1) > *soon);
  say(flows);
  CHECK(got(*dns, g1) == 10);
  CHECK(got(*dns, g2) == 10);
  CHECK(*dns->idle(g2) < *dns->idle(g1));
}

TEST_CASE("rules win over UDP flows, and keep no generation busy") {
  if (!steering_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2});
  auto flows = clients(1, *dns);
  say(flows);
  auto from = bound_address(flows[0].get());
  require(dns->add_probe(*from, g2));
  say(flows);
  CHECK(got(*dns, g2) == 1);
  CHECK_FALSE(dns->idle(g2));
  require(dns->remove_probe(*from));
  say(flows);
  CHECK(got(*dns, g1) == 2);
}

TEST_CASE("datagrams that came before the first slot do not look like a lost program") {
  if (!steering_works()) return;
  auto dns = open_steered(steered_udp());
  auto flows = clients(5, *dns);
  say(flows);
  CHECK(dns->intact());
  require(dns->add(g1));
  CHECK(dns->intact());
  require(dns->apply({g1, {{g1, full_weight}}, {}, false}));
  CHECK(dns->intact());
  CHECK_FALSE(is_ready(*dns->anchor()));
  say(flows);
  CHECK(read_all(*dns->fd(g1)) == 5);
}
