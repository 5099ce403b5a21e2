#include "measurements.hpp"

#include <core/comparison.hpp>
#include <core/student.hpp>

#include <catch2/catch.hpp>

#include <cmath>

using namespace handoff;
using namespace handoff::test;

namespace {

metric_policy const errors{.name = "errors"};
metric_policy const latency{.name = "latency", .kind = metric_kind::value, .least = 2};

}  // namespace

TEST_CASE("Student's t is the one of the tables") {
  struct {
    double t, degrees, above;
  } const cases[] = {{12.706, 1, 0.025},  {2.571, 5, 0.025},   {2.228, 10, 0.025}, {3.169, 10, 0.005},
                     {1.984, 100, 0.025}, {1.960, 1e9, 0.025}, {0, 7, 0.5}};
  for (auto const& c : cases) {
    INFO(c.t << " with " << c.degrees);
    CHECK(student_upper_tail(c.t, c.degrees) == Approx(c.above).epsilon(0.002));
  }
}

TEST_CASE("a rate's difference has the interval of Agresti and Caffo") {
  // 56 of 70 and 48 of 80, their formula by hand: 57/72 - 49/82 = 0.1941, +- 1.96 * 0.0723.
  auto found = compare(errors, rate(56, 70 + 30), rate(48, 80 + 20));
  REQUIRE(found);
  CHECK(found->difference == Approx(0.08));
  auto better = compare({.name = "errors", .least = 70}, rate(56, 70), rate(48, 80));
  REQUIRE(better);
  CHECK(better->difference == Approx(0.2));
  CHECK(better->low == Approx(0.0524).margin(0.0005));
  CHECK(better->high == Approx(0.3359).margin(0.0005));
  CHECK(better->chance == Approx(0.0073).margin(0.0003));
  CHECK(better->significant);  // at 99 %
}

TEST_CASE("means are compared as Welch does") {
  // 10 samples of 20 +- 2 and 20 of 23 +- 1: variances of the means 4.444/10 and 1.0526/20, 11.2 degrees.
  auto found = compare(latency, samples(20, 2, 10), samples(23, 1, 20));
  REQUIRE(found);
  CHECK(found->difference == Approx(-3));
  CHECK(found->low == Approx(-4.55).margin(0.01));
  CHECK(found->high == Approx(-1.45).margin(0.01));
  CHECK(found->chance == Approx(0.0013).margin(0.0003));
  CHECK(found->significant);
}

TEST_CASE("what is told as a difference is one, whatever the counts are") {
  struct {
    char const* what;
    double failures, all, live_failures, live_all;
    bool significant;
  } const cases[] = {
      {"five percent where live has a tenth", 20, 400, 8, 7'600, true},
      {"better than live", 0, 1'000, 50, 1'000, true},
      {"no failure on either side", 0, 400, 0, 7'600, false},
      {"one failure in a few is chance", 1, 120, 8, 7'600, false},
      {"the same rate", 40, 4'000, 760, 76'000, false},
      {"all, and none", 100, 100, 0, 100, true},
  };
  for (auto const& c : cases) {
    INFO(c.what);
    auto found = compare(errors, rate(c.failures, c.all), rate(c.live_failures, c.live_all));
    REQUIRE(found);
    CHECK(found->significant == c.significant);
    CHECK(found->low <= found->high);
    CHECK(found->low >= -1);
    CHECK(found->high <= 1);
  }
}

TEST_CASE("too little on either side is no comparison") {
  CHECK_FALSE(compare(errors, rate(5, 99), rate(5, 1'000)));
  CHECK_FALSE(compare(errors, rate(5, 1'000), rate(5, 99)));
  CHECK_FALSE(compare({.kind = metric_kind::value, .least = 1}, samples(1, 0, 1), samples(2, 0, 1)));
  CHECK(compare(latency, samples(1, 0, 2), samples(2, 0, 2)));
}

TEST_CASE("samples that do not vary differ for certain, or not at all") {
  auto same = compare(latency, samples(5, 0, 40), samples(5, 0, 40));
  auto other = compare(latency, samples(5, 0, 40), samples(4, 0, 40));
  REQUIRE((same && other));
  CHECK_FALSE(same->significant);
  CHECK(other->significant);
  CHECK(other->low == other->high);
}

TEST_CASE("sides that do not differ rarely seem to") {
  std::uint64_t state = 7;
  auto dice = [&] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(state >> 11) / static_cast<double>(1ULL << 53);
  };
  auto failures_of = [&](int count) {
    double failed = 0;
    for (int n = 0; n < count; ++n) failed += dice() < 0.05;
    return failed;
  };
  int seemed = 0, missed = 0;
  for (int run = 0; run < 2'000; ++run) {
    auto found = compare(errors, rate(failures_of(300), 300), rate(failures_of(900), 900));
    REQUIRE(found);
    seemed += found->significant;
    missed += found->low > 0 || found->high < 0;
  }
  CHECK(seemed <= 40);   // 1 % is what the confidence allows
  CHECK(missed <= 140);  // 5 % are outside of the interval
  CHECK(missed >= 40);
}
