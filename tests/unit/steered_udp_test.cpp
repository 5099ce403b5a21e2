#include "steered.hpp"

#include <linux/bpf.h>
#include <sys/syscall.h>

#include <algorithm>

using namespace handoff;
using namespace handoff::test;

namespace {

std::uint64_t got(steered_listener const& l, generation_number who) { return l.counts(who)->datagrams; }

long on_flows(int command, int map, void* key, void* value) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<std::uint32_t>(map);
  attributes.key = reinterpret_cast<std::uintptr_t>(key);
  attributes.value = reinterpret_cast<std::uintptr_t>(value);  // or the next key
  return ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

// Of the one flow that there is, as another CPU would that read the clock a little later.
void use_later(steered_listener const& l, std::chrono::nanoseconds by) {
  int flows = l.group().program.back();
  std::array<std::uint8_t, 36> key{};
  struct {
    std::uint32_t slot, generation;
    std::uint64_t last_use;
  } owner{};
  REQUIRE(on_flows(BPF_MAP_GET_NEXT_KEY, flows, nullptr, key.data()) == 0);
  REQUIRE(on_flows(BPF_MAP_LOOKUP_ELEM, flows, key.data(), &owner) == 0);
  owner.last_use += static_cast<std::uint64_t>(by.count());
  REQUIRE(on_flows(BPF_MAP_UPDATE_ELEM, flows, key.data(), &owner) == 0);
}

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
  REQUIRE(eventually([&] { return *dns->idle(g1) > std::max(duration(20), *soon); }));
  say(flows);
  CHECK(got(*dns, g1) == 10);
  CHECK(got(*dns, g2) == 10);
  CHECK(*dns->idle(g2) < *dns->idle(g1));
}

TEST_CASE("a UDP flow that another CPU used just now is not over") {
  if (!steering_works()) return;
  auto dns = open_steered(steered_udp(), {g1, g2});
  auto flow = clients(1, *dns);
  say(flow);
  require(dns->apply({g2, {{g2, full_weight}}, {}, false}));
  use_later(*dns, std::chrono::seconds(10));
  say(flow);
  CHECK(got(*dns, g1) == 2);
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

namespace {

std::string const id_of_second = std::string("ab") + char(2) + "defgh";  // byte 2 tells generation 2

std::string short_packet(std::string const& id) { return "\x41" + id + "payload"; }
std::string long_packet(char first, std::string const& id, std::string const& version = {0, 0, 0, 1}) {
  return first + version + static_cast<char>(id.size()) + id + "payload";
}
std::string const version_2 = "\x6b\x33\x43\xcf";  // RFC 9369; it numbers the types of packets anew

}  // namespace

TEST_CASE("a QUIC packet of an established connection goes to its generation from any address") {
  if (!steering_works()) return;
  constexpr char initial = char(0xc0), zero_rtt = char(0xd0), handshake = char(0xe0), retry = char(0xf0);
  auto [says, packet, to] = GENERATE(table<std::string, std::string, generation_number>({
      {"a short header with the id of generation 2", short_packet(id_of_second), g2},
      {"a short header with the byte of nobody", short_packet("abcdefgh"), g1},
      {"a short header that ends before the byte",
       "\x41"
       "ab",
       g1},
      {"nothing at all", "", g1},
      {"a Handshake packet", long_packet(handshake, id_of_second), g2},
      {"a Handshake packet whose id is too short", long_packet(handshake, "ab") + "\x02", g1},
      {"an Initial packet, whose id is the client's", long_packet(initial, id_of_second), g1},
      {"a 0-RTT packet", long_packet(zero_rtt, id_of_second), g1},
      {"a Retry packet", long_packet(retry, id_of_second), g1},
      {"version 2: a Handshake packet", long_packet(char(0xf0), id_of_second, version_2), g2},
      {"version 2: an Initial packet", long_packet(char(0xd0), id_of_second, version_2), g1},
      {"version 2: a 0-RTT packet", long_packet(char(0xe0), id_of_second, version_2), g1},
      {"version 2: a Retry packet", long_packet(char(0xc0), id_of_second, version_2), g1},
      {"a version that nobody knows", long_packet(handshake, id_of_second, "\x0a\x1a\x2a\x3a"), g1},
  }));
  CAPTURE(says);
  auto settings = steered_udp();
  settings.connection_id_byte = 2;
  auto quic = open_steered(settings, {g1, g2});
  auto client = client_at("127.0.0.1", *quic);
  REQUIRE(::send(client.get(), packet.data(), packet.size(), 0) == static_cast<ssize_t>(packet.size()));
  CHECK(got(*quic, to) == 1);
  CHECK(read_all(*quic->fd(to)) == 1);
}

TEST_CASE("a connection id says more than a flow, and keeps its generation busy") {
  if (!steering_works()) return;
  auto settings = steered_udp();
  settings.connection_id_byte = 2;
  auto quic = open_steered(settings, {g1, g2});
  auto flow = clients(1, *quic);
  say(flow);
  CHECK(got(*quic, g1) == 1);
  auto packet = short_packet(id_of_second);
  REQUIRE(::send(flow[0].get(), packet.data(), packet.size(), 0) > 0);
  CHECK(got(*quic, g2) == 1);
  CHECK(quic->idle(g2));
  quic->remove(g2);
  REQUIRE(::send(flow[0].get(), packet.data(), packet.size(), 0) > 0);
  CHECK(got(*quic, g1) == 2);
}
