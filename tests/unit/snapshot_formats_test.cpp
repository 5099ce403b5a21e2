#include "paths.hpp"

#include <wire/snapshot.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace handoff;

namespace {

std::filesystem::path recordings(std::uint32_t format) {
  return std::filesystem::path(source_root) / "tests/snapshots" / ("format-" + std::to_string(format));
}

snapshot recorded(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  auto read = decode_snapshot(bytes);
  INFO(file << (read ? "" : ": " + read.error().message()));
  REQUIRE(read);
  return std::move(*read);
}

std::vector<instance_phase> phases_of(generation const* g) {
  std::vector<instance_phase> all;
  if (g == nullptr) return all;
  for (auto const& i : g->instances) all.push_back(i.phase);
  return all;
}

using phases = std::vector<instance_phase>;
constexpr auto ready = instance_phase::ready;

}  // namespace

// Whoever changes the format records what it was, and goes on to read it.
TEST_CASE("every snapshot of a format that we read is read") {
  for (auto format = oldest_snapshot_format; format <= snapshot_format; ++format) {
    std::size_t files = 0;
    for (auto const& entry : std::filesystem::directory_iterator(recordings(format))) {
      ++files;
      snapshot s = recorded(entry.path());
      auto written = encode_snapshot(s);
      REQUIRE(written);
      CHECK(encode_snapshot(decode_snapshot(*written).value()) == *written);
      CHECK(s.service == "web");
      CHECK(s.listeners.open.size() == 3);
      CHECK(s.clients.size() == 2);  // who watches, and who asked for it
      for (auto const& g : s.state.generations) {
        CHECK(std::ranges::count(s.releases, g.number, &kept_release::number) == 1);
        auto known = std::ranges::count(s.instances, g.number, [](auto const& i) { return i.id.generation; });
        CHECK(known == std::ranges::count_if(g.instances, &instance::is_running));
      }
      for (auto const& i : s.instances) CHECK(s.descriptors.contains(i.launched.pidfd));
    }
    CHECK(files >= 4);
  }
}

TEST_CASE("a recorded quiet service rests") {
  snapshot s = recorded(recordings(1) / "quiet.cbor");
  CHECK_FALSE(s.state.rollout);
  CHECK(phases_of(s.state.with_role(role::live)) == phases{ready, ready});
  CHECK(s.state.generations.size() == 1);
  CHECK(s.ready_told);
}

TEST_CASE("a recorded canary holds at its first weight") {
  snapshot s = recorded(recordings(1) / "canary-holds.cbor");
  REQUIRE(s.state.rollout);
  auto const& r = *s.state.rollout;
  CHECK(is_holding(r));
  CHECK(r.weight == weight{500});
  CHECK(r.hold_until > r.started);
  CHECK(r.checks.at(0).passed);
  CHECK(r.metrics.size() == 1);
  CHECK(phases_of(s.state.with_role(role::candidate)) == phases{ready});
  traffic_split const split = s.state.split;
  CHECK(split == split_of(s.state));
  CHECK(split.routes.size() == 1);
  CHECK(split.sticky);
  auto steered = std::ranges::count_if(s.listeners.open, &kept_listener::steered);
  CHECK(steered == 2);
}

TEST_CASE("a recorded candidate is starting") {
  snapshot s = recorded(recordings(1) / "starting.cbor");
  REQUIRE(s.state.rollout);
  CHECK(stage_of(*s.state.rollout) == "starting 2 instances");
  generation const* candidate = s.state.with_role(role::candidate);
  CHECK(phases_of(candidate) == phases{instance_phase::starting, instance_phase::starting});
  CHECK(next_deadline(s.state) == candidate->instances[0].until);
  CHECK(phases_of(s.state.with_role(role::live)) == phases{ready, ready});
}

TEST_CASE("a recorded service retires one generation and keeps another as standby") {
  snapshot s = recorded(recordings(1) / "retiring-with-standby.cbor");
  CHECK(phases_of(s.state.with_role(role::live)) == phases{ready, ready});
  generation const* standby = s.state.with_role(role::standby);
  CHECK(phases_of(standby) == phases{ready, ready});
  CHECK(s.state.previous == standby->number);
  CHECK(standby->standby_until > standby->instances[0].launched_at);
  CHECK(s.state.draining() == 1);
  CHECK(phases_of(s.state.with_role(role::draining)) ==
        phases{instance_phase::draining, instance_phase::draining});
}
