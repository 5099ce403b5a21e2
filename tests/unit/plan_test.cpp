#include <core/plan.hpp>

#include <catch2/catch.hpp>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

std::vector<std::string> words(plan const& p) {
  std::vector<std::string> all;
  for (auto const& step : p) all.push_back(describe(step));
  return all;
}

std::vector<std::string> plan_of(rollout_settings how, std::uint32_t instances, std::uint32_t live) {
  operator_policy policy;
  policy.rollout = std::move(how);
  return words(expand(policy, {.instances = instances}, live));
}

using expected = std::vector<std::string>;

}  // namespace

TEST_CASE("handoff starts everything, switches and bakes") {
  rollout_settings how{.bake = 1min};
  CHECK(plan_of(how, 2, 2) == expected{"starting 2 instances", "switching traffic", "baking"});
  CHECK(plan_of(how, 2, 0) == expected{"starting 2 instances", "switching traffic"});
}

TEST_CASE("hooks and checks stand before the traffic that they guard") {
  operator_policy policy;
  policy.rollout = {.strategy = strategy::canary, .steps = {{weight{500}, 2min}}};
  policy.checks.push_back({.name = "smoke"});
  policy.hooks.fill(5s);
  CHECK(words(expand(policy, {.instances = 2}, 2)) ==
        expected{"the preflight hook", "starting 1 instance", "checks", "the ready hook", "moving 5 %",
                 "holding at 5 %", "starting 2 instances", "switching traffic", "the switched hook"});
}

TEST_CASE("a step chooses the checks before it, and what watches it") {
  operator_policy policy;
  policy.rollout = {.strategy = strategy::canary, .bake = 1min};
  policy.rollout.steps = {{weight{500}, 2min, selection{{"smoke"}}, selection{{"errors"}}},
                          {weight{1'000}, 2min, selection{{"deep", "smoke"}}, selection(std::in_place)},
                          {weight{2'000}, 2min, selection(std::in_place), {}},
                          {weight{5'000}, 0ms, {}, {}}};
  policy.checks = {{.name = "smoke", .during_bake = true}, {.name = "deep"}};
  policy.metrics = {{.name = "errors"}};
  policy.hooks.fill(5s);
  plan steps = expand(policy, {.instances = 1}, 1);
  CHECK(words(steps) == expected{"the preflight hook", "starting 1 instance", "checks smoke",
                                 "the ready hook", "moving 5 %", "holding at 5 %", "checks deep, smoke",
                                 "moving 10 %", "holding at 10 %", "moving 20 %", "holding at 20 %",
                                 "moving 50 %", "switching traffic", "the switched hook", "baking"});
  auto hold = [&](std::size_t at) { return std::get<hold_step>(steps.at(at)); };
  CHECK(hold(5) == hold_step{weight{500}, 2min, selection{{"smoke"}}, selection{{"errors"}}});
  CHECK(hold(8) == hold_step{weight{1'000}, 2min, selection{{"deep", "smoke"}}, selection(std::in_place)});
  CHECK(hold(10) == hold_step{weight{2'000}, 2min, selection(std::in_place), {}});
  CHECK(hold(14) == hold_step{full_weight, 1min, {}, {}});

  policy.rollout.steps = {{weight{500}, 2min, selection(std::in_place), {}}};
  CHECK(words(expand(policy, {.instances = 1}, 1)).at(2) == "the ready hook");
}

TEST_CASE("a canary has as many instances as its weight needs") {
  rollout_settings how{.strategy = strategy::canary,
                       .steps = {{weight{500}, 2min}, {weight{2'500}, {}}, {weight{5'000}, 0ms}}};
  CHECK(plan_of(how, 8, 8) == expected{"starting 1 instance", "moving 5 %", "holding at 5 %",
                                       "starting 2 instances", "moving 25 %",
                                       "waiting at 25 % to be promoted", "starting 4 instances",
                                       "moving 50 %", "starting 8 instances", "switching traffic"});
  how.canary_instances = 3;
  CHECK(plan_of(how, 8, 8).front() == "starting 3 instances");
}

TEST_CASE("blue-green waits for a person unless it promotes by itself") {
  rollout_settings how{.strategy = strategy::blue_green};
  CHECK(plan_of(how, 2, 2) ==
        expected{"starting 2 instances", "moving 0 %", "waiting at 0 % to be promoted", "switching traffic"});
  how.auto_promote = true;
  CHECK(plan_of(how, 2, 2) == expected{"starting 2 instances", "switching traffic"});
}

TEST_CASE("an experiment stays until it is concluded") {
  rollout_settings how{.strategy = strategy::experiment, .experiment_weight = weight{3'000}};
  CHECK(plan_of(how, 2, 2) == expected{"starting 2 instances", "moving 30 %",
                                       "waiting at 30 % to be promoted", "switching traffic"});
}

TEST_CASE("rolling keeps between instances - max-unavailable and instances + max-surge") {
  for (std::uint32_t surge : {0U, 1U, 2U, 5U})
    for (std::uint32_t unavailable : {0U, 1U, 3U})
      for (std::uint32_t wanted : {1U, 2U, 3U, 7U})
        for (std::uint32_t live : {1U, 3U, 9U}) {
          if (surge == 0 && unavailable == 0) continue;
          INFO(surge << " " << unavailable << " " << wanted << " from " << live);
          operator_policy policy;
          policy.rollout = {
              .strategy = strategy::rolling, .max_surge = surge, .max_unavailable = unavailable};
          std::uint32_t fresh = 0, old = live, last_weight = 0;
          for (auto const& step : expand(policy, {.instances = wanted}, live)) {
            if (auto const* start = std::get_if<start_step>(&step)) {
              bool forced = start->instances == fresh + 1;  // nothing else would go on
              CHECK((forced || start->instances + old <= wanted + surge));
              fresh = start->instances;
            }
            if (auto const* stop = std::get_if<stop_step>(&step)) {
              CHECK(stop->instances < old);
              old = stop->instances;
              CHECK(old >= 1);
              CHECK(old + fresh + unavailable >= wanted);
              CHECK((fresh > 0 || old + unavailable >= live));
            }
            if (auto const* to = std::get_if<weight_step>(&step)) {
              CHECK(number(to->weight) > last_weight);
              last_weight = number(to->weight);
            }
          }
          CHECK(fresh == wanted);
          CHECK(last_weight == number(full_weight));
        }
}

TEST_CASE("rolling to fewer instances begins with one that stands") {
  rollout_settings how{.strategy = strategy::rolling, .max_surge = 1};
  CHECK(plan_of(how, 1, 4) == expected{"starting 1 instance", "switching traffic"});
  CHECK(plan_of(how, 3, 4) == expected{"starting 1 instance", "moving 33.33 %",
                                       "stopping live down to 2 instances", "starting 2 instances",
                                       "moving 66.66 %", "stopping live down to 1 instance",
                                       "starting 3 instances", "switching traffic"});
  how.max_surge = 0;
  how.max_unavailable = 1;
  CHECK(plan_of(how, 2, 4) == expected{"stopping live down to 3 instances", "starting 1 instance",
                                       "moving 50 %", "stopping live down to 1 instance",
                                       "starting 2 instances", "switching traffic"});
}

TEST_CASE("weights are told as percentages") {
  CHECK(spell(weight{500}) == "5 %");
  CHECK(spell(weight{25}) == "0.25 %");
  CHECK(spell(weight{2'550}) == "25.5 %");
  CHECK(spell(full_weight) == "100 %");
  CHECK(spell(no_weight) == "0 %");
}
