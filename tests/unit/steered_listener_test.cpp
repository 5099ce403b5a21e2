#include "steered.hpp"

#include <cmath>

using namespace handoff;
using namespace handoff::test;

namespace {

// Descriptors without close-on-exec.
std::size_t inherited_by_programs() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 && !is_close_on_exec(fd)) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("traffic divides as weighted") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp(), {g1, g2});
  auto part = GENERATE(0U, 500U, 5000U, 10'000U);
  CAPTURE(part);
  require(http->apply(canary(part)));
  constexpr int count = 1000;
  auto held = clients(count, *http);
  REQUIRE(eventually([&] { return waiting(*http, g1) + waiting(*http, g2) == count; }));
  double p = part / 10'000.0;
  double error = 5 * std::sqrt(count * p * (1 - p));  // once in two million runs it is more than that
  CHECK(std::abs(waiting(*http, g2) - count * p) <= error);
  CHECK(http->counts(g2)->connections == waiting(*http, g2));
  CHECK(http->counts(g1)->migrations == 0);
}

TEST_CASE("a sticky client always comes to the same side, and stays while the candidate's part grows") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp(), {g1, g2});
  std::map<std::string, int> before;
  for (std::uint32_t part : {2500U, 5000U}) {
    require(http->apply(canary(part, true)));
    std::vector<unique_fd> held;
    for (int i = 0; i < 400; ++i) {
      std::string host = "127.0." + std::to_string(i / 200 + 1) + "." + std::to_string(i % 200 + 1);
      for (int again = 0; again < 3; ++again) held.push_back(client_at(host, *http));
    }
    REQUIRE(eventually([&] { return waiting(*http, g1) + waiting(*http, g2) == held.size(); }));
    auto old_side = accept_all(*http->fd(g1)), new_side = accept_all(*http->fd(g2));
    for (auto const& [host, count] : new_side) CHECK((count == 3 && !old_side.contains(host)));
    for (auto const& [host, count] : before) CHECK(new_side.contains(host));
    double p = part / 10'000.0;
    CHECK(std::abs(static_cast<double>(new_side.size()) - 400 * p) <= 5 * std::sqrt(400 * p * (1 - p)));
    before = new_side;
  }
}

TEST_CASE("another seed divides sticky clients in another way") {
  if (!steering_works()) return;
  std::map<std::string, int> sides[2];
  for (std::uint32_t seed : {1U, 2U}) {
    auto http = open_steered(steered_tcp(), seed);
    for (auto who : {g1, g2}) require(http->add(who));
    require(http->apply(canary(5000, true)));
    std::vector<unique_fd> held;
    for (int i = 1; i <= 64; ++i) held.push_back(client_at("127.0.1." + std::to_string(i), *http));
    REQUIRE(eventually([&] { return waiting(*http, g1) + waiting(*http, g2) == 64; }));
    sides[seed - 1] = accept_all(*http->fd(g2));
  }
  CHECK(sides[0] != sides[1]);
}

TEST_CASE("a routed network goes to its generation, whatever the weights are") {
  if (!steering_works()) return;
  auto split = canary(0);
  split.routes = {{net({127, 0, 5, 0}, 24), g2}, {net({127, 0, 0, 0}, 8), g1}, {six_loopback(), g2}};
  SECTION("IPv4") {
    auto http = open_steered(steered_tcp(), {g1, g2});
    require(http->apply(split));
    auto matching = clients(20, *http, "127.0.5.9"), other = clients(20, *http, "127.0.6.9");
    comes_to(*http, g2, 20);
    comes_to(*http, g1, 20);
  }
  SECTION("IPv6") {
    auto http = open_steered(steered_tcp("::1"), {g1, g2});
    require(http->apply(split));
    auto matching = clients(20, *http, "::1");
    comes_to(*http, g2, 20);
    split.routes.pop_back();
    require(http->apply(split));
    auto other = clients(20, *http, "::1");
    comes_to(*http, g1, 20);
  }
  SECTION("an IPv4 client of a dual-stack listener") {
    auto http = open_steered(steered_tcp("::"), {g1, g2});
    require(http->apply(split));
    auto matching = clients(20, *http, "127.0.5.9"), other = clients(10, *http, "127.0.6.9");
    auto six = clients(5, *http, "::1");
    comes_to(*http, g2, 25);
    comes_to(*http, g1, 10);
  }
  SECTION("an absent one's clients go to the fallback") {
    auto http = open_steered(steered_tcp(), {g1});
    require(http->apply(split));
    auto matching = clients(5, *http, "127.0.5.9");
    comes_to(*http, g1, 5);
  }
}

TEST_CASE("a probe reaches the generation under test by its own address and port") {
  if (!steering_works()) return;
  auto host = GENERATE(as<std::string>{}, "127.0.0.1", "::1");
  auto http = open_steered(steered_tcp("::"), {g1, g2});
  std::uint16_t port = free_port();
  auto from = address_of(tcp(port, host));
  require(http->add_probe(*from, g2));
  auto probe = client_at(host, *http, port);  // before others may take its port
  auto others = clients(20, *http, host);
  comes_to(*http, g2, 1);
  comes_to(*http, g1, 20);
  require(http->remove_probe(*from));
  probe.reset();
  accept_all(*http->fd(g2));
  auto later = client_at(host, *http, free_port());
  comes_to(*http, g1, 21);
  CHECK(http->counts(g2)->connections == 0);  // a probe is no traffic
  CHECK(http->counts(g1)->connections == 21);
  CHECK_FALSE(http->add_probe(*unix_socket_address("/tmp/x"), g2));
}

TEST_CASE("probes are bounded") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp(), {g1});
  for (std::size_t i = 0; i < most_probes; ++i) {
    require(http->add_probe(*address_of(tcp(static_cast<std::uint16_t>(1000 + i))), g1));
  }
  require(http->add_probe(*address_of(tcp(1000)), g1));  // the same again
  auto one_more = http->add_probe(*address_of(tcp(999)), g1);
  REQUIRE_FALSE(one_more);
  CHECK(one_more.error().message() == "adding a probe to 'http': it has 32 already");
}

TEST_CASE(
    "what waits for a generation that leaves is served by the fallback, whoever else holds its socket") {
  if (!steering_works()) return;
  bool only_shut = GENERATE(true, false);
  auto http = open_steered(steered_tcp(), {g1, g2});
  auto queued = clients(50, *http);
  comes_to(*http, g1, 50);
  holding_process holder;
  require(http->apply({g2, {{g2, full_weight}}, {}, false}));
  CHECK(waiting(*http, g1) == 50);  // a weight moves nothing
  if (only_shut) {
    require(http->shut(g1));
    CHECK_FALSE(http->queued(g1));
    CHECK_FALSE(http->reopen(g1));
  } else {
    http->remove(g1);
    CHECK_FALSE(http->fd(g1));
  }
  comes_to(*http, g2, 50);
  CHECK(http->counts(g2)->migrations == 50);
  serve_all(*http->fd(g2), queued);
}

TEST_CASE("half-open handshakes move as well") {
  if (!steering_works()) return;
  auto settings = steered_tcp();
  settings.options.defer_accept = std::chrono::seconds(30);  // half-open until the client says something
  bool in_anchor = GENERATE(true, false);
  CAPTURE(in_anchor);
  auto http = open_steered(settings);
  if (!in_anchor) require(http->add(g1));
  auto half_open = clients(10, *http);
  require(http->add(g2));
  require(http->apply({g2, {{g2, full_weight}}, {}, false}));
  if (!in_anchor) require(http->shut(g1));
  CHECK(waiting(*http, g2) == 0);
  for (auto const& client : half_open) REQUIRE(::send(client.get(), "x", 1, MSG_NOSIGNAL) == 1);
  serve_all(*http->fd(g2), half_open);
}

TEST_CASE("nothing waits in the anchor for ever") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp());
  auto early = clients(20, *http);
  REQUIRE(eventually([&] { return accept_queue(*http->anchor()) == 20; }));
  CHECK(http->intact());
  require(http->add(g1));
  CHECK(http->intact());
  require(http->apply({g1, {{g1, full_weight}}, {}, false}));
  comes_to(*http, g1, 20);
  CHECK(accept_queue(*http->anchor()) == 0);

  http->remove(g1);  // the last one
  auto late = clients(5, *http);
  REQUIRE(eventually([&] { return accept_queue(*http->anchor()) == 25; }));
  require(http->add(g2));
  require(http->apply({g2, {{g2, full_weight}}, {}, false}));
  comes_to(*http, g2, 25);
  for (auto& client : early) late.push_back(std::move(client));
  serve_all(*http->fd(g2), late);
}

TEST_CASE("a slot that a service shut opens again, and nobody is refused meanwhile") {
  if (!steering_works()) return;
  auto how = GENERATE(int{SHUT_RDWR}, int{SHUT_RD});
  bool alone = GENERATE(true, false);
  auto http = open_steered(steered_tcp(), alone ? std::vector{g1} : std::vector{g1, g2});
  auto held = clients(5, *http);
  comes_to(*http, g1, 5);
  shut_by_a_service(*http->fd(g1), how);
  CHECK_FALSE(http->queued(g1));
  for (auto& client : clients(5, *http)) held.push_back(std::move(client));
  if (!alone) comes_to(*http, g2, 10);
  require(http->reopen(g1));
  require(http->reopen(g1));  // nothing to do
  if (alone) comes_to(*http, g1, 10);
  for (auto& client : clients(5, *http)) held.push_back(std::move(client));
  comes_to(*http, g1, alone ? 15 : 5);
}

TEST_CASE("every slot can be used, one more is refused") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp());
  for (std::uint32_t n = 1; n <= steering_slots; ++n) require(http->add(generation_number{n}));
  auto one_more = http->add(generation_number{33});
  REQUIRE_FALSE(one_more);
  CHECK(one_more.error().message() == "adding generation 33 to 'http': all 32 slots are taken");
  generation_number last{steering_slots};
  require(http->apply({last, {{last, full_weight}}, {}, false}));
  auto held = clients(5, *http);
  comes_to(*http, last, 5);
  CHECK_FALSE(http->add(last));
  http->remove(g3);
  require(http->add(generation_number{33}));
}

TEST_CASE("generations that come and go leave no descriptor behind") {
  if (!steering_works()) return;
  auto inherited = inherited_by_programs();
  auto http = open_steered(steered_tcp(), {g1});
  CHECK(inherited_by_programs() == inherited);
  auto before = open_descriptors();
  auto anchor = http->anchor();
  for (std::uint32_t n = 2; n < 202; ++n) {
    require(http->add(generation_number{n}));
    http->remove(generation_number{n});
  }
  CHECK(inherited_by_programs() == inherited);
  CHECK(open_descriptors() == before);
  CHECK(http->anchor() == anchor);
  http.reset();
  CHECK(open_descriptors() < before);
}

TEST_CASE("a slot has the configured options, blocks, and gets its backlog back") {
  if (!steering_works()) return;
  auto settings = steered_tcp();
  settings.options.backlog = 77;
  settings.options.keepalive = true;
  auto http = open_steered(settings, {g1});
  int fd = *http->fd(g1);
  CHECK(is_blocking(fd));
  CHECK(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(backlog_of(fd) == 77);
  CHECK(backlog_of(*http->anchor()) == 77);
  REQUIRE(::listen(fd, 3) == 0);
  http->set_backlog(78);
  require(http->restore_backlogs());
  CHECK(backlog_of(fd) == 78);
  CHECK(backlog_of(*http->anchor()) == 78);
}

TEST_CASE("an address that somebody holds is not steered, even when he would share it") {
  if (!steering_works()) return;
  auto type = GENERATE(socket_type::stream, socket_type::datagram);
  auto settings = type == socket_type::stream ? steered_tcp() : steered_udp();
  unique_fd foreign(::socket(AF_INET, kernel_socket_type(type) | SOCK_CLOEXEC, 0));
  int on = 1;
  REQUIRE(::setsockopt(foreign.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
  REQUIRE(::setsockopt(foreign.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  auto address = address_of(settings);
  REQUIRE(::bind(foreign.get(), address->get(), address->length) == 0);
  if (type == socket_type::stream) REQUIRE(::listen(foreign.get(), 1) == 0);
  holding_process holder;
  foreign.reset();
  auto opened = steered_listener::open(settings);
  REQUIRE_FALSE(opened);
  CHECK_THAT(opened.error().message(), Catch::StartsWith("binding '" + settings.name + "' at ") &&
                                           Catch::EndsWith(", pid " + std::to_string(holder.pid) + ")"));
}

TEST_CASE("what cannot be steered is refused") {
  CHECK(steered_listener::open(tcp(0)).error().message() ==
        "binding 'http' at 127.0.0.1:0: only TCP and UDP with a port of their own can be steered");
  CHECK_FALSE(steered_listener::open(local("/tmp/x")));
  CHECK_FALSE(steered_listener::open(adopted_from_systemd("http")));
}
