#include <os/steering_page.hpp>

#include <arpa/inet.h>
#include <catch2/catch.hpp>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace handoff;

namespace {

using ends = std::vector<std::pair<std::uint32_t, std::uint32_t>>;  // up to, slot

generation_number g(std::uint32_t n) { return generation_number{n}; }
share part(std::uint32_t generation, std::uint32_t weight_) { return {g(generation), weight{weight_}}; }

slot_owners owners_of(std::vector<std::uint32_t> generations) {
  slot_owners owners{};
  for (std::size_t i = 0; i < generations.size(); ++i) owners[i] = g(generations[i]);
  return owners;
}

ends shares_of(steering_page const& page) {
  ends found;
  for (unsigned i = 0; i < page.shares; ++i) found.emplace_back(page.share[i].up_to, page.share[i].slot);
  return found;
}

network net(char const* text, std::uint8_t prefix) {
  network made{.prefix = prefix};
  std::string spelled = std::strchr(text, ':') ? text : "::ffff:" + std::string(text);
  REQUIRE(::inet_pton(AF_INET6, spelled.c_str(), made.address.data()) == 1);
  if (!std::strchr(text, ':')) made.prefix = static_cast<std::uint8_t>(prefix + 96);
  return made;
}

std::string spelled(__u32 const (&words)[4]) {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(AF_INET6, words, text, sizeof text);
}

}  // namespace

TEST_CASE("shares lie one behind the other and end with the whole") {
  auto [says, split, fallback, expected] =
      GENERATE(table<std::string, std::vector<share>, std::uint32_t, ends>({
          {"nobody serves yet", {}, no_slot, {}},
          {"one has all", {part(7, 10000)}, 0, {{10000, 0}}},
          {"a canary", {part(7, 9500), part(8, 500)}, 0, {{9500, 0}, {10000, 1}}},
          {"no weight takes no place", {part(7, 10000), part(8, 0)}, 0, {{10000, 0}}},
          {"the order is the split's", {part(8, 1), part(7, 9999)}, 0, {{1, 1}, {10000, 0}}},
          {"an absent one gives its share to the fallback, the others stay where they are",
           {part(9, 2500), part(8, 7500)},
           0,
           {{2500, 0}, {10000, 1}}},
          {"the rest of too little is the fallback's", {part(7, 3000)}, 0, {{3000, 0}}},
          {"too much ends with the whole", {part(7, 9000), part(8, 5000)}, 0, {{9000, 0}, {10000, 1}}},
      }));
  CAPTURE(says);
  auto fallback_generation = fallback == no_slot ? no_generation : g(7);
  auto page = make_page({fallback_generation, split, {}, false}, owners_of({7, 8}), {}, {});
  CHECK(page.fallback == fallback);
  CHECK(shares_of(page) == expected);
  CHECK(page.layout == steering_layout_version);
}

TEST_CASE("with an absent fallback the program is left to find the first that is present") {
  auto page = make_page({g(6), {part(6, 5000), part(8, 5000)}, {}, false}, owners_of({7, 8}), {}, {});
  CHECK(page.fallback == no_slot);
  CHECK(shares_of(page) == ends{{5000, no_slot}, {10000, 1}});
}

TEST_CASE("a page knows the generation of each slot, to tell a flow's owner from his successor") {
  auto page = make_page({}, owners_of({7, 0, 9}), {}, {.sticky_seed = 5, .flow_timeout = duration(1500)});
  CHECK(page.generation[0] == 7);
  CHECK(page.generation[1] == 0);
  CHECK(page.generation[2] == 9);
  CHECK(page.generation[steering_slots - 1] == 0);
  CHECK(page.seed == 5);
  CHECK(page.flow_timeout_ns == 1'500'000'000);
  CHECK(page.sticky == 0);
}

TEST_CASE("shares and rules beyond the page's room are left out") {
  traffic_split split{g(1), {}, {}, true};
  for (std::uint32_t i = 1; i <= steering_shares + 1; ++i) split.shares.push_back(part(i, 1000));
  for (int i = 0; i <= steering_rules; ++i) split.routes.push_back({net("10.0.0.0", 8), g(2)});
  auto page = make_page(split, owners_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), {}, {});
  CHECK(page.shares == steering_shares);
  CHECK(page.rules == steering_rules);
  CHECK(page.sticky == 1);
}

TEST_CASE("rules match masked addresses in network order") {
  auto [says, from, expected_network,
        expected_mask] = GENERATE(table<std::string, network, std::string, std::string>({
      {"everybody", net("::", 0), "::", "::"},
      {"an IPv4 network", net("10.1.0.0", 16), "::ffff:10.1.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"},
      {"one IPv4 client", net("10.1.2.3", 32), "::ffff:10.1.2.3", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"an IPv6 network", net("2001:db8::", 33), "2001:db8::", "ffff:ffff:8000::"},
      {"bits behind the prefix do not count", net("2001:db8::1", 32), "2001:db8::", "ffff:ffff::"},
  }));
  CAPTURE(says);
  auto page = make_page({g(7), {}, {{from, g(8)}}, false}, owners_of({7, 8}), {}, {});
  REQUIRE(page.rules == 1);
  CHECK(spelled(page.rule[0].network) == expected_network);
  CHECK(spelled(page.rule[0].mask) == expected_mask);
  CHECK(page.rule[0].port == 0);
  CHECK(page.rule[0].slot == 1);
}

TEST_CASE("clients by port come before routes; an absent goal is the fallback") {
  routed_client const probe{net("127.0.0.1", 32), 4711, g(8)};
  auto page = make_page({g(7), {}, {{net("127.0.0.0", 8), g(9)}}, false}, owners_of({7, 8}), {&probe, 1}, {});
  REQUIRE(page.rules == 2);
  CHECK(page.rule[0].port == htons(4711));
  CHECK(page.rule[0].slot == 1);
  CHECK(page.rule[1].slot == 0);
}

TEST_CASE("a byte of connection ids tells the slot of one generation, or nothing") {
  slot_owners owners = owners_of({3, 0, 255, 256 + 3, 256 + 4});
  auto page = make_page({g(3), {}, {}, false}, owners, {}, {.connection_id_byte = 2});
  CHECK(page.connection_id_byte == 2);
  CHECK(page.slot_of_byte[255] == 2);
  CHECK(page.slot_of_byte[4] == 4);
  CHECK(page.slot_of_byte[3] == no_slot);  // it is the byte of two
  CHECK(page.slot_of_byte[0] == no_slot);
  auto without = make_page({g(3), {}, {}, false}, owners, {}, {});
  CHECK(without.connection_id_byte == steering_no_connection_id);
  CHECK(without.slot_of_byte[4] == no_slot);
}
