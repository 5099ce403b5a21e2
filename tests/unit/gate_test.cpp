#include "measurements.hpp"

#include <core/turn.hpp>

#include <catch2/catch.hpp>

#include <cmath>

using namespace handoff;
using namespace handoff::test;

namespace {

metric_policy against_live(double ratio = 1) { return {.name = "errors", .ratio = ratio}; }
// Of a hold that asks this metric, at a weight that somebody may have set.
rollout holding(metric_policy metric, weight planned, weight now) {
  rollout r{.phase = rollout_phase::executing, .plan = {hold_step{planned, duration(60'000), {}, {}}}};
  r.entered = true;
  r.weight = now;
  r.policy.metrics = {std::move(metric)};
  r.metrics.resize(1);
  return r;
}

metric_policy against_bound(double max) { return {.name = "errors", .max = max}; }

}  // namespace

TEST_CASE("a step that is set to 100 % by hand waits for what cannot be compared any more") {
  constexpr weight five{500};
  auto r = holding(against_live(), five, full_weight);
  CHECK_FALSE(is_measured(r, 0));
  CHECK(open_question(r) ==
        "metric 'errors': nothing was measured yet; at 100 % there is no live to compare with");
  r.metrics[0].last = {judgement::pass, ""};
  CHECK_FALSE(open_question(r));

  CHECK(is_measured(holding(against_bound(0.1), five, full_weight), 0));
  CHECK(is_measured(holding(against_live(), full_weight, five), 0));
  // A bake is planned without.
  CHECK_FALSE(open_question(holding(against_live(), full_weight, full_weight)));
}

TEST_CASE("counts are told as people write them") {
  CHECK(judge(against_live(), rate(1, 12'345), rate(0, 1'234'567), 1).why ==
        "0.0081 % of 12345, live: 0 % of 1234567");
}

TEST_CASE("a candidate is judged by its rate of failures beside live's") {
  struct {
    char const* what;
    double failures, all, live_failures, live_all;
    judgement is;
  } const cases[] = {
      {"five percent where live has a tenth", 20, 400, 8, 7'600, judgement::fail},
      {"the same rate", 4, 4'000, 76, 76'000, judgement::pass},
      {"no failure on either side", 0, 400, 0, 7'600, judgement::pass},
      {"one failure in a few is chance", 1, 120, 8, 7'600, judgement::pass},
      {"a little more, and not significantly", 12, 4'000, 152, 76'000, judgement::pass},
      {"all of them", 100, 100, 0, 2'000, judgement::fail},
      {"too little of the candidate", 5, 50, 8, 7'600, judgement::inconclusive},
      {"too little of live", 5, 500, 0, 99, judgement::inconclusive},
      {"better than live", 0, 1'000, 50, 1'000, judgement::pass},
  };
  for (auto const& c : cases) {
    INFO(c.what);
    auto found = judge(against_live(), rate(c.failures, c.all), rate(c.live_failures, c.live_all), 12);
    INFO(found.why);
    CHECK(found.is == c.is);
    CHECK_FALSE(found.why.empty());
  }
}

TEST_CASE("a ratio allows so many times live's rate") {
  auto twice = judge(against_live(2), rate(40, 20'000), rate(20, 20'000), 12);
  CHECK(twice.is == judgement::pass);
  auto five_times = judge(against_live(2), rate(100, 20'000), rate(20, 20'000), 12);
  CHECK(five_times.is == judgement::fail);
}

TEST_CASE("a bound needs no live") {
  measurement nobody;
  CHECK(judge(against_bound(0.01), rate(30, 1'000), nobody, 12).is == judgement::fail);
  CHECK(judge(against_bound(0.01), rate(9, 1'000), nobody, 12).is == judgement::pass);
  CHECK(judge(against_bound(0.01), rate(11, 1'000), nobody, 12).is == judgement::pass);
  CHECK(judge(against_bound(0), rate(0, 1'000), nobody, 12).is == judgement::pass);
}

TEST_CASE("values are compared by their means and how much they vary") {
  metric_policy latency{.name = "latency", .kind = metric_kind::value, .ratio = 1.2, .least = 20};
  CHECK(judge(latency, samples(10, 2, 40), samples(10, 2, 40), 12).is == judgement::pass);
  CHECK(judge(latency, samples(20, 2, 40), samples(10, 2, 40), 12).is == judgement::fail);
  CHECK(judge(latency, samples(13, 9, 40), samples(10, 9, 40), 12).is == judgement::pass);
  CHECK(judge(latency, samples(20, 2, 19), samples(10, 2, 40), 12).is == judgement::inconclusive);
  CHECK(judge(latency, samples(5, 0, 40), samples(4, 0, 40), 12).is == judgement::fail);
}

TEST_CASE("the more looks, the surer a failure has to be") {
  auto candidate = rate(9, 400);
  auto live = rate(40, 7'600);
  CHECK(judge(against_live(), candidate, live, 1).is == judgement::fail);
  CHECK(judge(against_live(), candidate, live, 1000).is == judgement::pass);
}

TEST_CASE("a candidate that equals live is rarely called worse") {
  // A thousand canaries of 400 requests beside 7,600 of live, both failing 1 %, each looked at ten times.
  std::uint64_t state = 42;
  auto dice = [&] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(state >> 11) / static_cast<double>(1ULL << 53);
  };
  int failed = 0;
  for (int run = 0; run < 1000; ++run) {
    double mine = 0, lives = 0;
    bool caught = false;
    for (int look = 1; look <= 10; ++look) {
      for (int n = 0; n < 40; ++n) mine += dice() < 0.01;
      for (int n = 0; n < 760; ++n) lives += dice() < 0.01;
      caught |=
          judge(against_live(), rate(mine, look * 40), rate(lives, look * 760), 10).is == judgement::fail;
    }
    failed += caught;
  }
  CHECK(failed <= 20);  // one in a hundred is what the confidence allows
}

TEST_CASE("a candidate with the values of live is rarely called worse, however few they are") {
  // Four samples of each side: a normal approximation would call one in ten worse at the first look.
  std::uint64_t state = 7;
  auto dice = [&] {
    double sum = -6;
    for (int n = 0; n < 12; ++n) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      sum += static_cast<double>(state >> 11) / static_cast<double>(1ULL << 53);
    }
    return sum;
  };
  metric_policy queue{.name = "queue", .kind = metric_kind::value, .ratio = 1.0, .least = 4};
  int failed = 0;
  for (int run = 0; run < 4000; ++run) {
    measurement mine, lives;
    for (int n = 0; n < 4; ++n) {
      mine.add(metric_kind::value, {10 + dice()});
      lives.add(metric_kind::value, {10 + dice()});
    }
    failed += judge(queue, mine, lives, 1).is == judgement::fail;
  }
  CHECK(failed <= 60);  // 40 and some chance
  CHECK(failed > 5);    // it can fail
}

TEST_CASE("a mean is what two counters grew by, one sample a look") {
  measurement m;
  m.add(metric_kind::mean, {100, 1'000});
  CHECK(m.count() == 0);
  m.add(metric_kind::mean, {110, 1'100});
  m.add(metric_kind::mean, {110, 1'100});  // nothing happened
  m.add(metric_kind::mean, {140, 1'200});
  CHECK(m.count() == 2);
  CHECK(m.mean() == Approx(0.2));
  m.add(metric_kind::mean, {5, 10});  // began anew
  CHECK(m.count() == 3);
  CHECK(m.mean() == Approx(0.3));
}

TEST_CASE("a flow is what a counter grew by in a second for each percent of the traffic") {
  measurement m;
  instant then{};
  auto look = [&](double counter, duration later, std::uint32_t hundredths) {
    m.add_flow(counter, then += later, weight{hundredths});
  };
  look(1'000, duration(0), 2'000);
  CHECK(m.count() == 0);
  look(1'100, duration(1'000), 2'000);
  look(1'300, duration(2'000), 2'000);
  CHECK(m.count() == 2);
  CHECK(m.mean() == Approx(5));
  look(9'000, duration(1'000), 3'000);  // under two weights
  look(8'000, duration(1'000), 3'000);  // began anew
  look(8'000, duration(0), 3'000);      // no time went by
  CHECK(m.count() == 2);
  look(8'300, duration(1'000), 3'000);
  CHECK(m.mean() == Approx(20.0 / 3));
  look(8'300, duration(1'000), 0);
  look(8'300, duration(1'000), 0);  // of no traffic
  CHECK(m.count() == 3);
}

TEST_CASE("what was counted before the step, and before a restart, is not the step's") {
  measurement m;
  m.add(metric_kind::rate, {70, 1'000});
  CHECK(m.count() == 0);
  m.add(metric_kind::rate, {71, 1'100});
  CHECK(m.count() == 100);
  CHECK(m.failures() == 1);
  m.add(metric_kind::rate, {2, 50});  // began anew
  CHECK(m.count() == 150);
  CHECK(m.failures() == 3);
}

TEST_CASE("a reading that is no use is told from one that is") {
  CHECK(why_unusable(metric_kind::rate, {1, 2}).empty());
  CHECK(why_unusable(metric_kind::value, {1}).empty());
  CHECK(why_unusable(metric_kind::value, {1, 2, 3}).empty());
  for (metric_reading const& bad :
       {metric_reading{}, {1}, {1, 2, 3}, {2, 1}, {-1, 5}, {NAN, 1}, {1, INFINITY}})
    CHECK_FALSE(why_unusable(metric_kind::rate, bad).empty());
  CHECK_FALSE(why_unusable(metric_kind::value, {}).empty());
  CHECK(why_unusable(metric_kind::mean, {2, 1}).empty());
  CHECK_FALSE(why_unusable(metric_kind::mean, {1}).empty());
  CHECK_FALSE(why_unusable(metric_kind::mean, {1, -1}).empty());
  CHECK(why_unusable(metric_kind::flow, {2}).empty());
  CHECK_FALSE(why_unusable(metric_kind::flow, {1, 2}).empty());
}

TEST_CASE("a promoted step is not ended by the metric that was skipped, though its candidate restarts") {
  constexpr instant now{duration(100'000)};
  state s;
  s.generations = {{.number = generation_number{1}, .role = role::live},
                   {.number = generation_number{2}, .role = role::candidate}};
  s.generations[1].instances = {{.id = {generation_number{2}, 1, 1}, .phase = instance_phase::queued}};
  s.generations[1].instances[0].until = now + duration(60'000);
  s.rollout = holding(against_bound(0.1), weight{500}, weight{500});
  s.rollout->candidate = generation_number{2};
  s.rollout->hold_until = now - duration(1'000);
  s.rollout->gate_until = now + duration(1'000);
  s.rollout->held = true;

  step(s, {now, promote_requested{.request = request_number{1}}});
  step(s, {now + duration(2'000), time_passed{}});
  REQUIRE(s.rollout);
  CHECK(s.with_role(role::candidate) != nullptr);
}
