#include <os/classic_program.hpp>

#include <catch2/catch.hpp>

#include <algorithm>

using namespace handoff;

namespace {

constexpr generation_number g1{1}, g2{2};
constexpr slot_owners both{g1, g2};

steering_page page_of(traffic_split const& split, slot_owners const& owners = both) {
  return make_page(split, owners, {}, {.sticky_seed = 7});
}

traffic_split canary(std::uint32_t part, bool sticky = false) {
  return {g1, {{g1, weight{10'000 - part}}, {g2, weight{part}}}, {}, sticky};
}

// Where the program goes when it does not look at the client.
std::optional<std::uint32_t> unconditional(std::vector<sock_filter> const& program) {
  if (program.size() != 1 || program[0].code != (BPF_RET | BPF_K)) return {};
  return program[0].k;
}

}  // namespace

TEST_CASE("who gets everything costs one instruction", "[classic]") {
  static constexpr std::uint32_t usual[] = {0, 1}, turned[] = {1, 0}, second_only[] = {1},
                                 first_is_shut[] = {no_slot, 1};
  auto [says, split, order, index] =
      GENERATE_COPY(table<char const*, traffic_split, std::span<std::uint32_t const>, std::uint32_t>({
          {"all to the first", canary(0), usual, 0U},
          {"all to the second", canary(10'000), usual, 1U},
          {"sticky makes no difference", canary(10'000, true), usual, 1U},
          {"the group has another order than the slots", canary(0), turned, 1U},
          {"whoever is left gets what was divided", canary(500), second_only, 0U},
          {"a member that is shut gets nothing", canary(500), first_is_shut, 1U},
          {"nobody has traffic yet: the first that is present", {}, turned, 1U},
          {"nobody is there", {}, {}, 0U},
      }));
  CAPTURE(says);
  for (auto type : {socket_type::stream, socket_type::datagram})
    CHECK(unconditional(classic_program(page_of(split), type, order)) == index);
}

TEST_CASE("a generation without a slot leaves its share to the fallback", "[classic]") {
  std::uint32_t const order[] = {0};
  auto program = classic_program(page_of(canary(9'000), {g1}), socket_type::stream, order);
  CHECK(unconditional(program) == 0);
}

TEST_CASE("shares end at the hash at which those of the other program end", "[classic]") {
  auto part = GENERATE(1U, 499U, 500U, 3'333U, 5'000U, 9'999U);
  CAPTURE(part);
  std::uint32_t const order[] = {0, 1};
  auto program = classic_program(page_of(canary(part)), socket_type::stream, order);
  auto compared = std::ranges::find(program, BPF_JMP | BPF_JGE | BPF_K, &sock_filter::code);
  REQUIRE(compared != program.end());
  auto point = [](std::uint64_t hash) { return hash * steering_whole >> 32; };
  CHECK(point(compared->k - 1ULL) < 10'000 - part);
  CHECK(point(compared->k) >= 10'000 - part);
}

TEST_CASE("the largest page fits, and what needs no comparison has none", "[classic]") {
  std::uint32_t const order[] = {0, 1};
  steering_page full = page_of(canary(500, true));
  for (auto& rule : full.rule) {
    std::ranges::fill(rule.mask, 0x00ffffffU);
    rule.port = 1;
    rule.slot = 1;
  }
  full.rules = steering_rules;
  auto largest = classic_program(full, socket_type::datagram, order).size();
  CHECK(largest <= BPF_MAXINSNS);
  for (auto& rule : full.rule) std::ranges::fill(rule.mask, 0xffffffffU);
  auto exact = classic_program(full, socket_type::datagram, order).size();
  CHECK(largest - exact == 4 * steering_rules);
  for (auto& rule : full.rule) rule.mask[3] = 0;
  CHECK(exact - classic_program(full, socket_type::datagram, order).size() == 2 * steering_rules);
}
