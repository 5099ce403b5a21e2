#include <app/forecast.hpp>
#include <app/records.hpp>

#include <catch2/catch.hpp>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

constexpr instant noon{1000s};

generation made(std::uint32_t n, role r) {
  generation g{.number = generation_number{n}, .role = r};
  g.policy.steered = true;
  g.instances.push_back({.id = {g.number, 1, 1}, .phase = instance_phase::ready, .launched_at = noon - 60s});
  return g;
}

operator_policy canary() {
  operator_policy policy;
  policy.rollout.strategy = strategy::canary;
  policy.rollout.steps = {{weight{500}, 2min}, {weight{2500}, {}}};
  policy.rollout.bake = 30s;
  policy.checks = {{.name = "smoke", .during_bake = true}, {.name = "deep"}};
  policy.hooks[static_cast<std::size_t>(hook::switched)] = 5s;
  return policy;
}

// Generation 8 is given 5 % beside 7, by rollout 3.
state holding() {
  state s{.policy = canary()};
  s.generations = {made(7, role::live), made(8, role::candidate)};
  rollout r{.number = rollout_number{3}, .cause = cause::request, .phase = rollout_phase::executing};
  r.candidate = generation_number{8};
  r.policy = s.policy;
  r.plan = expand(s.policy, s.generations[1].policy, 1);
  while (!std::holds_alternative<hold_step>(r.plan[r.position])) ++r.position;
  r.entered = true;
  r.started = noon - 10s;
  r.weight = weight{500};
  r.hold_until = noon + 2min;
  s.rollout = r;
  s.split = split_of(s);
  return s;
}

observations seen(bool steered) {
  observed_listener l{.name = "http", .address = "0.0.0.0:80", .steered = steered};
  if (steered) l.slots = {{generation_number{7}, 2, 900, 0, 1}, {generation_number{8}, {}, 50, 3, 0}};
  if (!steered) l.sharing_reason = "the configuration says so";
  return {.service = "web", .pid = 1, .version = "1", .listeners = {l}};
}

json status_of(state const& s, bool steered = true) { return status_record(s, seen(steered), nullptr, noon); }

std::vector<std::string> words(json const& list) { return list.get<std::vector<std::string>>(); }

}  // namespace

TEST_CASE("the status tells a rollout with its plan", "[records]") {
  json r = status_of(holding())["rollout"];
  CHECK(r["strategy"] == "canary");
  CHECK(r["paused"] == false);
  CHECK(r["weight"] == 5.0);
  CHECK(words(r["steps"]) ==
        std::vector<std::string>{
            "start 1 instance", "checks 'smoke', 'deep' must pass",
            "give it 5 % of the traffic for 2m (check 'smoke' meanwhile)",
            "give it 25 % of the traffic until somebody promotes it (check 'smoke' meanwhile)",
            "give it all traffic", "run the switched hook", "watch it for 30s (check 'smoke' meanwhile)",
            "generation 7 drains for at most 1m"});
  CHECK(r["position"] == 2);
  CHECK(r["waiting_for"] == "the end of holding at 5 %");
  CHECK(r["deadline_in_ms"] == 120'000);
}

TEST_CASE("the status tells what each step chose, and where metrics come from", "[records]") {
  state s = holding();
  auto& policy = s.rollout->policy;
  policy.metrics = {{.name = "errors", .source = metric_source::page, .ratio = 1.0},
                    {.name = "queue", .source = metric_source::steering, .max = 5.0}};
  policy.rollout.steps = {{weight{500}, 2min, selection{{"deep"}}, selection{{"errors"}}},
                          {weight{2500}, {}, selection{{"smoke"}}, selection(std::in_place)}};
  s.rollout->plan = expand(policy, {}, 1);
  CHECK(words(status_of(s)["rollout"]["steps"]) ==
        std::vector<std::string>{
            "start 1 instance", "check 'deep' must pass",
            "give it 5 % of the traffic for 2m (metric 'errors' by prometheus meanwhile)",
            "check 'smoke' must pass",
            "give it 25 % of the traffic until somebody promotes it (check 'smoke' meanwhile)",
            "give it all traffic", "run the switched hook",
            "watch it for 30s (check 'smoke', metric 'queue' by steering meanwhile)",
            "generation 7 drains for at most 1m"});
}

TEST_CASE("a paused rollout says what it waits for", "[records]") {
  state s = holding();
  s.rollout->paused = true;
  json r = status_of(s)["rollout"];
  CHECK(r["paused"] == true);
  CHECK(r["waiting_for"] == "resume");
  CHECK(r["deadline_in_ms"] == nullptr);
}

TEST_CASE("a rollout without a plan yet has no steps", "[records]") {
  state s = holding();
  s.rollout->phase = rollout_phase::preparing;
  s.rollout->plan.clear();
  s.rollout->position = 0;
  s.rollout->weight.reset();
  json r = status_of(s)["rollout"];
  CHECK(r["steps"] == json::array());
  CHECK(r["position"] == 0);
  CHECK(r["weight"] == nullptr);
  CHECK(r["strategy"] == "canary");
}

TEST_CASE("weights are told where there is a split", "[records]") {
  auto weights = [](json const& status) {
    json all = json::array();
    for (auto const& g : status["generations"]) all.push_back(g["weight"]);
    return all;
  };
  CHECK(weights(status_of(holding())) == json{95.0, 5.0});
  CHECK(weights(status_of(holding(), false)) == json{nullptr, nullptr});
  state s = holding();
  s.generations.push_back(made(6, role::draining));
  CHECK(weights(status_of(s)) == json{95.0, 5.0, 0.0});
}

TEST_CASE("a listener tells how it is shared", "[records]") {
  json steered = status_of(holding())["listeners"][0];
  CHECK(steered["sharing"] == "steered");
  CHECK(steered["sharing_reason"] == "");
  CHECK(steered["slots"][0] == json{{"generation", 7},
                                    {"weight", 95.0},
                                    {"queued", 2},
                                    {"connections", 900},
                                    {"datagrams", 0},
                                    {"migrations", 1}});
  CHECK(steered["slots"][1]["queued"] == nullptr);
  json shared = status_of(holding(), false)["listeners"][0];
  CHECK(shared["sharing"] == "shared");
  CHECK(shared["sharing_reason"] == "the configuration says so");
  CHECK(shared["slots"] == json::array());
}

TEST_CASE("a listener that is steered by classic BPF says why, and counts nothing", "[records]") {
  state s = holding();
  observed_listener l{.name = "http", .steered = true, .by_classic = true, .sharing_reason = "no right"};
  l.slots = {{.generation = generation_number{7}, .queued = 2}};
  json told = status_record(s, {.service = "web", .listeners = {l}}, nullptr, noon)["listeners"][0];
  CHECK(told["sharing"] == "steered_classic");
  CHECK(told["sharing_reason"] == "no right");
  CHECK(told["slots"][0]["queued"] == 2);
  for (auto counted : {"connections", "datagrams", "migrations"}) CHECK(told["slots"][0][counted].is_null());
}

TEST_CASE("there is room for as many generations as have slots, and as may drain", "[records]") {
  state s;
  s.policy.rollout.max_draining = 2;
  s.generations = {made(8, role::live)};
  CHECK(has_room(s));
  s.generations.push_back(made(7, role::draining));
  CHECK(has_room(s));
  s.generations[0].policy.slots = 2;
  CHECK_FALSE(has_room(s));
  s.generations[0].policy.steered = false;
  CHECK(has_room(s));
  s.generations.push_back(made(6, role::draining));
  CHECK_FALSE(has_room(s));
}

TEST_CASE("a generation that stands by tells for how long", "[records]") {
  state s;
  s.generations = {made(7, role::standby), made(8, role::live)};
  s.generations[0].standby_until = noon + 10min;
  json warm = status_of(s)["generations"][0];
  CHECK(warm["role"] == "standby");
  CHECK(warm["deadline_in_ms"] == 600'000);
}

TEST_CASE("a way back to a standby generation starts nothing", "[records]") {
  state s = holding();
  s.rollout->cause = cause::rollback;
  s.rollout->plan = expand_return(s.rollout->policy, 2);
  CHECK(words(status_of(s)["rollout"]["steps"])[0] == "its instances stood by");
}

TEST_CASE("an experiment tells its variants with what came since it began", "[records]") {
  state s = holding();
  CHECK(status_of(s)["rollout"]["variants"] == nullptr);
  s.rollout->is_experiment = true;
  auto counts = [](json const& status) {
    json all = json::array();
    for (auto const& v : status["rollout"]["variants"])
      all.push_back({v["name"], v["generation"], v["connections"], v["datagrams"]});
    return all;
  };
  CHECK(counts(status_of(s)) == json{{"control", 7, 0, 0}, {"treatment", 8, 0, 0}});
  auto looked = seen(true);
  looked.before_experiment = {{generation_number{7}, {800, 0}}};
  CHECK(counts(status_record(s, looked, nullptr, noon)) ==
        json{{"control", 7, 100, 0}, {"treatment", 8, 50, 3}});
}

TEST_CASE("a rollout tells what its metrics measured", "[records]") {
  state s = holding();
  s.rollout->policy.metrics = {{.name = "errors", .kind = metric_kind::rate, .max = 0.5},
                               {.name = "latency", .kind = metric_kind::value, .least = 2}};
  s.rollout->metrics.resize(2);
  auto& errors = s.rollout->metrics[0];
  for (double n : {0, 1}) {
    errors.candidate.add(metric_kind::rate, {20 * n, 400 * n});
    errors.live.add(metric_kind::rate, {4 * n, 4000 * n});
  }
  errors.last = {judgement::pass, "5 % of 400"};
  s.rollout->metrics[1].unread = "exited 1";
  json canary = status_of(s)["rollout"]["metrics"];
  CHECK(canary[0]["live"] == nullptr);  // not measured: it has a bound of its own
  CHECK(canary[0]["difference"] == nullptr);
  s.rollout->is_experiment = true;
  json told = status_of(s)["rollout"]["metrics"];
  CHECK(told[0]["judgement"] == "pass");
  CHECK(told[0]["bounded"] == true);
  CHECK(told[0]["candidate"] ==
        json{{"count", 400.0}, {"failures", 20.0}, {"mean", nullptr}, {"variance", nullptr}});
  CHECK(told[0]["difference"]["difference"].get<double>() == Approx(0.049));
  CHECK(told[0]["difference"]["significant"] == true);
  CHECK(told[1]["bounded"] == false);
  CHECK(told[1]["unread"] == "exited 1");
  CHECK(told[1]["live"]["mean"] == nullptr);
  CHECK(told[1]["difference"] == nullptr);
}

TEST_CASE("an event tells the weight it is about", "[records]") {
  fact f{.kind = fact_kind::holding, .weight = weight{25}};
  CHECK(event_record(1, "", f, "")["weight"] == 0.25);
  f.weight.reset();
  CHECK(event_record(1, "", f, "")["weight"] == nullptr);
}

TEST_CASE("a forecast tells what would go before", "[forecast]") {
  settings s;
  s.rollout.strategy = strategy::blue_green;
  s.rollout.standby = 10min;
  state now;
  now.generations = {made(7, role::live)};
  auto steps = words(plan_record(now, s, {})["steps"]);
  CHECK(steps == std::vector<std::string>{
                     "start 1 instance", "give it no traffic yet until somebody promotes it",
                     "give it all traffic", "generation 7 stands by for 10m, then drains for at most 1m"});

  now.generations.push_back(made(6, role::standby));
  CHECK(words(plan_record(now, s, {})["steps"])[0] == "generation 6, which stands by, drains first");

  steps = words(plan_record(holding(), s, {})["steps"]);
  CHECK(steps.front() == "wait for the end of rollout 3, which is at: holding at 5 %");
  CHECK(steps.back() == "the generation that serves then stands by for 10m, then drains for at most 1m");
}

TEST_CASE("a forecast of the first start starts everything", "[forecast]") {
  settings s;
  s.service.instances = 3;
  s.rollout.strategy = strategy::canary;
  json told = plan_record({}, s, "because");
  CHECK(words(told["steps"]) == std::vector<std::string>{"start 3 instances", "give it all traffic"});
  CHECK(told["refused"] == "because");
}

TEST_CASE("a rolling plan tells how many more and fewer", "[forecast]") {
  settings s;
  s.service.instances = 3;
  s.rollout.strategy = strategy::rolling;
  CHECK(forecast(s) == std::vector<std::string>{
                           "start 1 instance", "give it its share of the traffic, 33.33 % where steered",
                           "stop live down to 2 instances", "start 1 more instance",
                           "give it its share of the traffic, 66.66 % where steered",
                           "stop live down to 1 instance", "start 1 more instance", "give it all traffic",
                           "the old generation drains for at most 1m"});
}
