// The same traffic through both steering programs.
#include "steered.hpp"

#include <cmath>

using namespace handoff;
using namespace handoff::test;

namespace {

// Which generation got a client, by its address; more than one where it was not always the same.
using sides = std::map<std::string, std::set<std::uint32_t>>;

std::string text_of(socket_address const& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.family() == AF_INET) return ::inet_ntoa(four(address)->sin_addr);
  auto const* six = reinterpret_cast<sockaddr_in6 const*>(&address.storage);
  return ::inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
}

int take_all(steered_listener const& l, generation_number who, sides& seen) {
  int taken = 0;
  for (; is_ready(*l.fd(who)); ++taken) {
    socket_address peer;
    peer.length = sizeof peer.storage;
    char byte;
    if (l.settings().type == socket_type::stream)
      unique_fd connection(::accept4(*l.fd(who), peer.get(), &peer.length, SOCK_CLOEXEC));
    else
      ::recvfrom(*l.fd(who), &byte, 1, 0, peer.get(), &peer.length);
    seen[text_of(peer)].insert(number(who));
  }
  return taken;
}

// More than a socket's buffer holds is said bit by bit, so what came is taken in between.
void say_and_take(std::vector<unique_fd> const& all, auto take) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    REQUIRE(::send(all[i].get(), "x", 1, 0) == 1);
    if (i % 100 == 99) take();
  }
}

struct traffic_case {
  char const* says;
  std::string at;  // the listener's host
  socket_type type;
  traffic_split split;
  std::vector<std::string> from;
  std::optional<std::pair<std::string, generation_number>> probe;
};

std::vector<std::string> many_clients() {
  std::vector<std::string> all;
  for (int i = 0; i < 300; ++i)
    all.push_back("127.0." + std::to_string(i / 100) + "." + std::to_string(i % 100 + 1));
  return all;
}

traffic_split routed(std::uint32_t part, bool sticky) {
  auto split = canary(part, sticky);
  split.routes = {{net({127, 0, 1, 0}, 26), g2},
                  {net({127, 0, 1, 0}, 24), g1},
                  {net({127, 0, 2, 7}, 32), g2},
                  {six_loopback(), g2}};
  return split;
}

std::vector<traffic_case> table_of_traffic() {
  constexpr auto tcp_ = socket_type::stream, udp_ = socket_type::datagram;
  auto all = many_clients();
  auto with_six = all;
  with_six.push_back("::1");
  auto absent = routed(0, false);
  absent.routes.insert(absent.routes.begin(), {net({127, 0, 0, 0}, 8), g3});
  network not_v4{.prefix = 64};  // ::/64 is not where IPv4 clients come from
  auto six_only = canary(0);
  six_only.routes = {{not_v4, g2}};
  return {
      {"all to live", "127.0.0.1", tcp_, canary(0), all, {}},
      {"all to the candidate", "127.0.0.1", tcp_, canary(10'000), all, {}},
      {"sticky, 5 %", "127.0.0.1", tcp_, canary(500, true), all, {}},
      {"sticky, 50 %", "127.0.0.1", tcp_, canary(5'000, true), all, {}},
      {"sticky, 99.99 %", "127.0.0.1", tcp_, canary(9'999, true), all, {}},
      {"sticky, on a dual-stack listener", "::", tcp_, canary(5'000, true), with_six, {}},
      {"sticky, IPv6", "::1", tcp_, canary(5'000, true), {"::1"}, {}},
      {"sticky, UDP", "127.0.0.1", udp_, canary(5'000, true), all, {}},
      {"routes", "127.0.0.1", tcp_, routed(0, false), all, {}},
      {"routes and sticky shares", "127.0.0.1", tcp_, routed(5'000, true), all, {}},
      {"routes on a dual-stack listener", "::", tcp_, routed(5'000, true), with_six, {}},
      {"a route for IPv6 on a dual-stack listener", "::", tcp_, six_only, with_six, {}},
      {"routes, UDP", "127.0.0.1", udp_, routed(0, false), all, {}},
      {"a route to who has no slot", "127.0.0.1", tcp_, absent, all, {}},
      {"a probe", "127.0.0.1", tcp_, canary(0), {"127.0.9.9", "127.0.9.8"}, {{"127.0.9.9", g2}}},
      {"a probe before a route", "::", tcp_, routed(0, false), {"127.0.2.7", "::1"}, {{"::1", g1}}},
      {"a probe, UDP", "127.0.0.1", udp_, canary(0), {"127.0.9.9", "127.0.9.8"}, {{"127.0.9.9", g2}}},
  };
}

sides play(traffic_case const& c, steering_method method) {
  auto settings = c.type == socket_type::stream ? steered_tcp(c.at) : steered_udp();
  auto listener = open_steered(settings, {g1, g2}, method);
  require(listener->apply(c.split));
  std::vector<unique_fd> held;
  sides seen;
  std::uint16_t probe_port = free_port(c.type);
  if (c.probe) require(listener->add_probe(*address_of(tcp(probe_port, c.probe->first)), c.probe->second));
  for (auto const& host : c.from) {
    bool probes = c.probe && c.probe->first == host;
    held.push_back(client_at(host, *listener, probes ? probe_port : std::uint16_t{0}));
    for (int again = 0; again < 2 && !probes; ++again) held.push_back(client_at(host, *listener));
  }
  int taken = 0;
  auto take = [&] {
    taken += take_all(*listener, g1, seen) + take_all(*listener, g2, seen);
    return taken == static_cast<int>(held.size());
  };
  if (c.type == socket_type::datagram) say_and_take(held, take);
  REQUIRE(eventually(take));
  return seen;
}

// A listener that changes while a child connects again and again, and minds when it is refused or cut off.
struct beset_listener {
  static constexpr int attempts = 4000;
  std::unique_ptr<steered_listener> http;
  pid_t generator = start_child([this] { return connect_to_all(); });
  int status = 0, served = 0;
  bool over = false;

  int connect_to_all() const {
    auto target = address_of(http->settings());
    for (int i = 0; i < attempts; ++i) {
      unique_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(client.get(), target->get(), target->length) < 0) return 1;
      char answer = 0;
      if (::recv(client.get(), &answer, 1, 0) != 1) return 2;  // a reset, or nobody
    }
    return 0;
  }

  void serve(generation_number who) {
    while (http->fd(who) && is_ready(*http->fd(who))) {
      unique_fd connection(::accept4(*http->fd(who), nullptr, nullptr, SOCK_CLOEXEC));
      REQUIRE(::send(connection.get(), "x", 1, MSG_NOSIGNAL) == 1);
      ++served;
    }
  }

  // Serves what waits; whether the child has ended.
  bool turn() {
    over = over || ::waitpid(generator, &status, WNOHANG) != 0;
    for (auto who : {g1, g2, g3}) serve(who);
    return over;
  }

  // The contract of remove(): the weight goes first, and handshakes that had begun are over.
  steered_listener::leaving retire(generation_number who, generation_number heir) {
    require(http->apply({heir, {{heir, full_weight}}, {}, false}));
    int enough = served + 2;
    while (served < enough && !turn()) continue;
    return http->remove(who);
  }
};

}  // namespace

TEST_CASE("both programs choose the same slot for the same client", "[classic]") {
  if (!steering_works()) return;
  for (auto const& c : table_of_traffic()) {
    CAPTURE(c.says);
    auto by_ebpf = play(c, steering_method::ebpf), by_classic = play(c, steering_method::classic);
    CHECK(by_classic == by_ebpf);
    CHECK(by_classic.size() == c.from.size());
    for (auto const& [host, who] : by_classic) CHECK(who.size() == 1);
  }
}

TEST_CASE("both programs divide as weighted what is not sticky", "[classic]") {
  auto method = GENERATE(steering_method::ebpf, steering_method::classic);
  if (method == steering_method::ebpf && !steering_works()) return;
  auto type = GENERATE(socket_type::stream, socket_type::datagram);
  auto part = GENERATE(100U, 500U, 5'000U);
  CAPTURE(part, type, method);
  auto listener = open_steered(type == socket_type::stream ? steered_tcp() : steered_udp(), {g1, g2}, method);
  require(listener->apply(canary(part)));
  constexpr int count = 1000;
  auto held = clients(count, *listener);
  sides seen;
  int to_live = 0, to_candidate = 0;
  auto take = [&] {
    to_live += take_all(*listener, g1, seen);
    to_candidate += take_all(*listener, g2, seen);
    return to_live + to_candidate == count;
  };
  if (type == socket_type::datagram) say_and_take(held, take);
  REQUIRE(eventually(take));
  double p = part / 10'000.0;
  CHECK(std::abs(to_candidate - count * p) <= 5 * std::sqrt(count * p * (1 - p)));
}

TEST_CASE("nobody is refused while weights change, generations come and go", "[classic]") {
  auto method = GENERATE(steering_method::ebpf, steering_method::classic);
  bool by_classic = method == steering_method::classic;
  if (!by_classic && !steering_works()) return;
  if (by_classic && !can_steer_by_classic().works) return;
  CAPTURE(method);
  beset_listener beset{open_steered(steered_tcp(), {g1, g2}, method)};
  auto& http = beset.http;
  for (std::uint32_t round = 0; !beset.turn(); ++round) {
    require(http->apply(canary(round * 1250 % 10'001)));
    if (round % 8 == 4) CHECK(beset.retire(g2, g1).unaccepted_connections == 0);
    if (round % 8 == 5) require(http->add(g2));
    if (round % 8 == 6) CHECK(beset.retire(g1, g2).unaccepted_connections == 0);
    if (round % 8 == 7) require(http->add(g1));
    // There are two slots by classic BPF.
    if (round % 16 == 9 && !by_classic) require(http->add(g3));
    if (round % 16 == 1 && !by_classic && round > 1) beset.retire(g3, g1);
  }
  CHECK(beset.status == 0);
  CHECK(beset.served == beset_listener::attempts);
}

TEST_CASE("classic: a UDP flow stays where it is while the weights stand still", "[classic]") {
  auto dns = open_steered(steered_udp(), {g1, g2}, steering_method::classic);
  require(dns->apply(canary(5'000)));
  auto flows = clients(100, *dns);
  say(flows);
  int first = read_all(*dns->fd(g1));
  CHECK(read_all(*dns->fd(g2)) == 100 - first);
  for (int again = 0; again < 5; ++again) {
    say(flows);
    CHECK(read_all(*dns->fd(g1)) == first);
    CHECK(read_all(*dns->fd(g2)) == 100 - first);
  }
  require(dns->apply({g2, {{g2, full_weight}}, {}, false}));
  say(flows);
  CHECK(read_all(*dns->fd(g2)) == 100);  // none is remembered
}
