#include "config_support.hpp"

#include <algorithm>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

// In these files [rollout] is line 8 and its keys begin in line 9.
std::string rolling_out(std::string const& keys, std::string const& service = "",
                        std::string const& more = "") {
  return with(service, "[rollout]\n" + keys + "\n" + more);
}

rollout_settings rollout_of(std::string const& keys, std::string const& service = "") {
  return good(rolling_out(keys, service)).rollout;
}

network ipv4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint8_t prefix) {
  return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, a, b, c, d}, static_cast<std::uint8_t>(96 + prefix)};
}

std::string repeated(std::string const& item, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += item + ", ";
  return "[" + text + "]";
}

}  // namespace

TEST_CASE("every key of a strategy reaches its setting") {
  CHECK(rollout_of("") == rollout_settings{});

  CHECK(
      rollout_of("strategy = \"handoff\"\nsharing = \"shared\"\nretire-after = \"3s\"\nmax-draining = 64") ==
      rollout_settings{.sharing = sharing::shared, .max_draining = 64, .retire_after = 3s});

  CHECK(rollout_of("strategy = \"rolling\"\nmax-surge = 2\nmax-unavailable = 1\nbake = \"1s\"",
                   "instances = 4") ==
        rollout_settings{.strategy = strategy::rolling, .bake = 1s, .max_surge = 2, .max_unavailable = 1});

  CHECK(
      rollout_of("strategy = \"blue-green\"\nauto-promote = true\nstandby = \"1h\"\nsharing = \"steered\"") ==
      rollout_settings{.strategy = strategy::blue_green,
                       .sharing = sharing::steered,
                       .auto_promote = true,
                       .standby = 1h});

  rollout_settings canary{.strategy = strategy::canary, .sticky = true, .canary_instances = 2};
  canary.routes = {{ipv4(10, 0, 9, 0, 24), side::candidate}, {ipv4(10, 0, 0, 1, 32), side::live}};
  canary.steps = {{weight{0}, 0ms}, {weight{525}, 2min}, {weight{525}, std::nullopt}, {full_weight, 1s}};
  CHECK(
      rollout_of(
          "strategy = \"canary\"\n"
          "sharing = \"auto\"\n"
          "sticky = true\n"
          "canary-instances = 2\n"
          "route = [{ from = \"10.0.9.0/24\", to = \"candidate\" }, { from = \"10.0.0.1\", to = \"live\" }]\n"
          "steps = [{ weight = 0 }, { weight = 5.25, hold = \"2m\", pause = false },\n"
          "         { weight = 5.25, pause = true }, { weight = 100.0, hold = \"1s\" }]",
          "instances = 2") == canary);
}

TEST_CASE("the sides of an experiment are even, and its clients stay, unless said otherwise") {
  rollout_settings even = rollout_of("strategy = \"experiment\"");
  CHECK(even.experiment_weight == weight{5000});
  CHECK(even.sticky);
  rollout_settings uneven = rollout_of("strategy = \"experiment\"\nweight = 33.33\nsticky = false");
  CHECK(uneven.experiment_weight == weight{3333});
  CHECK_FALSE(uneven.sticky);
}

TEST_CASE("each percentage with two decimals is exactly itself") {
  for (std::uint32_t hundredths = 0; hundredths <= number(full_weight); ++hundredths) {
    std::string digits = std::to_string(100 + hundredths % 100).substr(1);
    std::string text = std::to_string(hundredths / 100) + "." + digits;
    auto reading = read_config(rolling_out("strategy = \"experiment\"\nweight = " + text));
    if (reading.problems.empty() && reading.value.rollout.experiment_weight == weight{hundredths}) continue;
    FAIL(text);
  }
}

TEST_CASE("steps may be written as sections") {
  auto steps = good(rolling_out("strategy = \"canary\"", "",
                                "[[rollout.steps]]\nweight = 1\npause = true\n[[rollout.steps]]\nweight = 2"))
                   .rollout.steps;
  CHECK(steps == std::vector<canary_step>{{weight{100}, std::nullopt}, {weight{200}, 0ms}});
}

TEST_CASE("a part of the instances is rounded so that rather more than fewer run") {
  auto [says, instances, surge, unavailable, more, fewer] =
      GENERATE(table<char const*, int, char const*, char const*, unsigned, unsigned>({
          {"a quarter of four", 4, "\"25%\"", "\"25%\"", 1, 1},
          {"of five", 5, "\"25%\"", "\"25%\"", 2, 1},
          {"of three", 3, "\"25%\"", "\"25%\"", 1, 0},
          {"all at once", 3, "\"100%\"", "\"0%\"", 3, 0},
          {"the largest", 256, "\"100%\"", "\"99%\"", 256, 253},
          {"numbers stay", 8, "7", "6", 7, 6},
      }));
  CAPTURE(says);
  rollout_settings rollout = rollout_of("strategy = \"rolling\"\nmax-surge = " + std::string(surge) +
                                            "\nmax-unavailable = " + std::string(unavailable),
                                        "instances = " + std::to_string(instances));
  CHECK(rollout.max_surge == more);
  CHECK(rollout.max_unavailable == fewer);
}

TEST_CASE("what a strategy cannot understand is told") {
  auto [keys, message] = GENERATE(table<std::string, std::string>({
      {"strategy = \"cannary\"",
       "f:9:12: [rollout] strategy: expected 'handoff', 'rolling', 'blue-green', 'canary' or 'experiment', "
       "found "
       "'cannary'\n"},
      {"sharing = \"both\"",
       "f:9:11: [rollout] sharing: expected 'auto', 'steered' or 'shared', found 'both'\n"},
      {"sticky = \"client\"",
       "f:9:10: [rollout] sticky: expected true or false, found the string 'client'\n"},
      {"retire-after = \"0s\"",
       "f:9:16: [rollout] retire-after: expected a duration from 1ms to 30d, found the string '0s'\n"},
      {"strategy = \"experiment\"\nweight = 100.01",
       "f:10:10: [rollout] weight: expected a percentage from 0 to 100 with at most two decimals, found the "
       "fraction "
       "100.01\n"},
      {"strategy = \"experiment\"\nweight = 33.333", "decimals, found the fraction 33.333\n"},
      {"strategy = \"experiment\"\nweight = 5.000000000001", "decimals, found the fraction 5.000000000001\n"},
      {"strategy = \"experiment\"\nweight = nan", "decimals, found the fraction nan\n"},
      {"strategy = \"experiment\"\nweight = -inf", "decimals, found the fraction -inf\n"},
      {"strategy = \"experiment\"\nweight = -1", "decimals, found the number -1\n"},
      {"strategy = \"experiment\"\nweight = 9223372036854775807", "found the number 9223372036854775807\n"},
      {"strategy = \"experiment\"\nweight = \"50%\"", "decimals, found the string '50%'\n"},
      {"strategy = \"canary\"", "f:9:12: [rollout] strategy: \"canary\" needs 'steps' beside it\n"},
      {"strategy = \"rolling\"\nmax-surge = 257",
       "f:10:13: [rollout] max-surge: expected a whole number from 0 to 256, found the number 257\n"},
      {"strategy = \"rolling\"\nmax-surge = 0.5",
       "f:10:13: [rollout] max-surge: expected a whole number from 0 to 256 or a percentage such as \"25%\", "
       "found "
       "the fraction 0.5\n"},
      {"strategy = \"rolling\"\nmax-unavailable = \"25\"",
       "f:10:19: [rollout] max-unavailable: expected a whole percentage from \"0%\" to \"100%\", found "
       "'25'\n"},
      {"strategy = \"rolling\"\nmax-surge = \"101%\"", "from \"0%\" to \"100%\", found '101%'\n"},
      {"strategy = \"rolling\"\nmax-surge = \"50%\"",
       "f:10:13: [rollout] max-surge: a percentage needs 'instances' in [service]\n"},
      {"max-draining = 25",
       "f:9:16: [rollout] max-draining: expected at most 24 where sharing is not \"shared\", found 25\n"},
  }));
  CAPTURE(keys);
  CHECK_THAT(told(rolling_out(keys)), Catch::Contains(message));
}

TEST_CASE("what is wrong with a step is told where the step is") {
  auto [steps, message] = GENERATE(table<std::string, std::string>({
      {"5",
       "f:10:9: [rollout] steps: expected a list of tables such as [{ weight = 5, hold = \"2m\" }], found "
       "the number "
       "5\n"},
      {"{ weight = 5 }", "such as [{ weight = 5, hold = \"2m\" }], found a table\n"},
      {"[]", "f:10:9: [rollout] steps: expected 1 to 64 tables, found 0\n"},
      {"[5]", "f:10:10: [rollout] steps: expected a table, found the number 5\n"},
      {"[{ hold = \"1m\" }]", "f:10:10: [rollout] steps needs 'weight'\n"},
      {"[{ weight = 5, hld = \"1m\" }]",
       "f:10:24: unknown key 'hld' in [rollout] steps: did you mean 'hold'?\n"},
      {"[{ weight = 5, hold = 1 }]",
       "f:10:31: [rollout] steps hold: expected a duration such as \"30s\", found the number 1\n"},
      {"[{ weight = 5, pause = true, hold = \"0s\" }]", "f:10:32: [rollout] steps pause: excludes 'hold'\n"},
      {"[{ weight = 25.5 }, { weight = 5 }]",
       "f:10:40: [rollout] steps weight: expected at least 25.5 % as in the step before, for weights must "
       "not fall, "
       "found 5 %\n"},
      {"[{ weight = 100 }, { weight = 100 }]",
       "f:10:21: [rollout] steps weight: 100 may stand only in the last step\n"},
      {"[{ weight = 100 }, { weight = 5 }]",
       "f:10:21: [rollout] steps weight: 100 may stand only in the last step\n"},
      {"[{ weight = 101 }, { weight = 5 }]",
       "f:10:21: [rollout] steps weight: expected a percentage from 0 to 100 with at most two decimals, "
       "found the "
       "number 101\n"},
  }));
  CAPTURE(steps);
  CHECK_THAT(told(rolling_out("strategy = \"canary\"\nsteps = " + steps)), Catch::EndsWith(message));
  CHECK(read_config(rolling_out("strategy = \"canary\"\nsteps = " + steps)).problems.size() == 1);
}

TEST_CASE("a route names a network and a side") {
  auto [route, message] = GENERATE(table<std::string, std::string>({
      {"\"10.0.0.0/8\"",
       "f:9:9: [rollout] route: expected a list of tables such as [{ from = \"10.0.9.0/24\", to = "
       "\"candidate\" }], "
       "found the string '10.0.0.0/8'\n"},
      {"[{ from = \"10.0.0.0/8\" }]", "f:9:10: [rollout] route needs 'to'\n"},
      {"[{ to = \"live\" }]", "f:9:10: [rollout] route needs 'from'\n"},
      {"[{ from = \"10.0.0.0/8\", to = \"standby\" }]",
       "f:9:38: [rollout] route to: expected 'candidate' or 'live', found 'standby'\n"},
      {"[{ from = \"office\", to = \"live\" }]",
       "f:9:19: [rollout] route from: expected a network such as \"10.0.9.0/24\" or \"2001:db8::/32\", found "
       "'office'\n"},
      {"[{ from = \"10.0.9.5/24\", to = \"live\" }]",
       "f:9:19: [rollout] route from: expected \"10.0.9.0/24\", with no bit set behind the prefix, found "
       "'10.0.9.5/24'\n"},
      {"[{ from = \"10.0.9.0/33\", to = \"live\" }]",
       "f:9:19: [rollout] route from: expected a prefix from 0 to 32 behind the slash, found "
       "'10.0.9.0/33'\n"},
  }));
  CAPTURE(route);
  CHECK(told(rolling_out("route = " + route)) == message);
}

TEST_CASE("steps and routes are bounded at the limit and one past it") {
  auto steps = [](std::size_t count) {
    return rolling_out("strategy = \"canary\"\nsteps = " + repeated("{ weight = 5 }", count));
  };
  CHECK(good(steps(limit::steps)).rollout.steps.size() == limit::steps);
  CHECK(told(steps(limit::steps + 1)) == "f:10:9: [rollout] steps: expected 1 to 64 tables, found 65\n");

  auto routes = [](std::size_t count) {
    return rolling_out("route = " + repeated("{ from = \"::1\", to = \"live\" }", count));
  };
  CHECK(good(routes(0)).rollout.routes.empty());
  CHECK(good(routes(limit::routes)).rollout.routes.size() == limit::routes);
  CHECK(told(routes(limit::routes + 1)) == "f:9:9: [rollout] route: expected 0 to 32 tables, found 33\n");

  CHECK(told(rolling_out("max-draining = 24")) == "");
  CHECK(told(rolling_out("sharing = \"shared\"\nmax-draining = 64")) == "");
  CHECK_THAT(told(rolling_out("sharing = \"shared\"\nmax-draining = 65")), Catch::Contains("from 1 to 64"));
}

TEST_CASE("a key of another strategy names the strategy it belongs to") {
  auto [key, owner] = GENERATE(table<std::string, std::string>({
      {"steps = [{ weight = 5 }]", "canary"},
      {"canary-instances = 1", "canary"},
      {"max-surge = 1", "rolling"},
      {"max-unavailable = 0", "rolling"},
      {"auto-promote = false", "blue-green"},
      {"standby = \"1h\"", "blue-green"},
      {"weight = 50", "experiment"},
  }));
  auto other =
      GENERATE("", "strategy = \"handoff\"\n", "strategy = \"rolling\"\n", "strategy = \"blue-green\"\n",
               "strategy = \"canary\"\nsteps = [{ weight = 1 }]\n", "strategy = \"experiment\"\n");
  std::string strategy = "strategy = \"" + owner + "\"";
  std::string name = key.substr(0, key.find(' '));
  if (std::string(other).find(strategy) != std::string::npos ||
      std::string(other).find(name) != std::string::npos)
    return;
  CAPTURE(key, other);
  CHECK_THAT(told(rolling_out(other + key)),
             Catch::EndsWith("[rollout] " + name + ": has a meaning only for " + strategy + "\n"));
}

TEST_CASE("an experiment does not bake") {
  CHECK(told(rolling_out("strategy = \"experiment\"\nbake = \"1m\"")) ==
        "f:10:8: [rollout] bake: has no meaning for strategy = \"experiment\", which lasts until it is "
        "concluded\n");
}

TEST_CASE("counts of instances are held against those of the service") {
  auto [keys, service, message] = GENERATE(table<std::string, std::string, std::string>({
      {"strategy = \"canary\"\nsteps = [{ weight = 5 }]\ncanary-instances = 3", "instances = 2",
       "f:11:20: [rollout] canary-instances: expected at most 2, the 'instances' of [service], found 3\n"},
      {"strategy = \"canary\"\nsteps = [{ weight = 5 }]\ncanary-instances = 2", "",
       "f:11:20: [rollout] canary-instances: expected at most 1, the 'instances' of [service], found 2\n"},
      {"strategy = \"rolling\"\nmax-surge = 0", "instances = 2",
       "f:10:13: [rollout] max-surge: must not be 0 where 'max-unavailable' comes to 0 as well: no instance "
       "could be "
       "replaced\n"},
      {"strategy = \"rolling\"\nmax-surge = 0\nmax-unavailable = \"25%\"", "instances = 3",
       "comes to 0 as well"},
      {"strategy = \"rolling\"\nmax-surge = \"0%\"", "instances = 3", "comes to 0 as well"},
      {"strategy = \"rolling\"\nmax-unavailable = 2", "instances = 2",
       "f:10:19: [rollout] max-unavailable: expected fewer than the 2 'instances' of [service], for somebody "
       "has to "
       "serve, found 2\n"},
      {"strategy = \"rolling\"\nmax-unavailable = \"100%\"", "instances = 3",
       "somebody has to serve, found 3"},
      {"strategy = \"rolling\"\nmax-unavailable = \"100%\"\nmax-surge = \"100%\"", "instances = 0",
       "f:4:13: [service] instances: expected a whole number from 1 to 256, found the number 0\n"},
  }));
  CAPTURE(keys, service);
  std::string text = told(rolling_out(keys, service));
  CHECK_THAT(text, Catch::Contains(message));
  CHECK(std::ranges::count(text, '\n') == 1);
}

TEST_CASE("what needs steering is refused where the listeners are shared") {
  auto [keys, wish] = GENERATE(table<std::string, std::string>({
      {"strategy = \"canary\"\nsteps = [{ weight = 1 }]", "strategy = \"canary\""},
      {"strategy = \"blue-green\"\n", "strategy = \"blue-green\""},
      {"strategy = \"experiment\"\n", "strategy = \"experiment\""},
      {"sticky = true\n", "sticky = true"},
      {"strategy = \"rolling\"\nsticky = true", "sticky = true"},
      {"route = [{ from = \"::1\", to = \"candidate\" }]\n", "'route'"},
  }));
  CAPTURE(keys);
  CHECK(told(rolling_out(keys)) == "");
  CHECK(told(rolling_out("sharing = \"shared\"\n" + keys)) ==
        "f:9:11: [rollout] sharing: " + wish +
            " needs steering: expected \"auto\" or \"steered\", found \"shared\"\n");
}

TEST_CASE("what needs no steering works with shared listeners") {
  auto keys = GENERATE("strategy = \"rolling\"", "strategy = \"handoff\"", "sticky = false", "route = []");
  CHECK(told(rolling_out("sharing = \"shared\"\n" + std::string(keys))) == "");
}

TEST_CASE("what needs steering needs listeners that can be steered") {
  constexpr auto web = "name = \"a\"\naddress = \"[::]:80\"\n";
  constexpr auto path = "name = \"b\"\naddress = \"unix:/run/b\"\n";
  constexpr auto adopted = "name = \"c\"\nfrom = \"systemd\"\n";
  constexpr auto unsteered = "steer = false\n";
  constexpr auto next = "[[listener]]\n";
  using text = std::string;
  text const none = " needs a listener that can be steered: a TCP or UDP address without steer = false\n";
  auto [listeners, message] = GENERATE_COPY(table<text, text>({
      {text(web), ""},
      {"name = \"u\"\naddress = \"udp://[::]:53\"\n", ""},
      {text(web) + next + path + unsteered + next + adopted + unsteered, ""},
      {text(web) + next + path,
       "f:9:11: [[listener]] address: 'b' cannot be steered, as strategy = \"blue-green\" asks: write steer "
       "= false "
       "beside it (this one switches at 100)\n"},
      {text(web) + next + adopted,
       "f:9:8: [[listener]] from: 'c' cannot be steered, as strategy = \"blue-green\" asks: write steer = "
       "false beside "
       "it (this one switches at 100)\n"},
      {text(web) + unsteered, "f:9:12: [rollout] strategy: strategy = \"blue-green\"" + none},
      {text(path), "f:8:12: [rollout] strategy: strategy = \"blue-green\"" + none},
      {text(adopted) + unsteered, "f:9:12: [rollout] strategy: strategy = \"blue-green\"" + none},
      // What a broken listener was meant to be, nobody knows.
      {text(path) + next + "name = \"d\"\naddress = \"nowhere\"\n",
       "f:9:11: [[listener]] address: expected \"host"},
      {text(path) + "type = \"steam\"\n", "f:7:8: [[listener]] type: expected 'stream'"},
  }));
  CAPTURE(listeners);
  std::string found = told(with_listener(listeners + "[rollout]\nstrategy = \"blue-green\""));
  CHECK_THAT(found, Catch::StartsWith(message));
  CHECK(std::ranges::count(found, '\n') == (message.empty() ? 0 : 1));
}

TEST_CASE("what was wished is named as it is written") {
  auto unix_and = [](std::string const& keys) {
    return with_listener("name = \"a\"\naddress = \"unix:/a\"\n[rollout]\n" + keys);
  };
  CHECK_THAT(told(unix_and("sticky = true")),
             Catch::StartsWith("f:8:10: [rollout] sticky: sticky = true needs a"));
  CHECK_THAT(told(unix_and("sharing = \"steered\"")),
             Catch::StartsWith("f:8:11: [rollout] sharing: sharing = \"steered\" needs a"));
  CHECK_THAT(told(unix_and("route = [{ from = \"::1\", to = \"live\" }]")),
             Catch::StartsWith("f:8:9: [rollout] route: 'route' needs a"));
  CHECK(told(unix_and("strategy = \"rolling\"")) == "");
}

TEST_CASE("listeners say whether they are steered, and when a flow is over") {
  auto listeners = good(with_listener("name = \"u\"\naddress = \"udp://[::]:53\"\nflow-timeout = \"5s\"\n"
                                      "connection-id-byte = 19\n"
                                      "[[listener]]\nname = \"x\"\naddress = \"unix:/x\"\nsteer = false"))
                       .listeners;
  CHECK(listeners.at(0).steer);
  CHECK(listeners.at(0).flow_timeout == 5s);
  CHECK_FALSE(listeners.at(1).steer);
  CHECK(listeners.at(1).flow_timeout == 30s);
  CHECK(listeners.at(0).connection_id_byte == 19);
  CHECK_FALSE(listeners.at(1).connection_id_byte);

  auto [listener, message] = GENERATE(table<std::string, std::string>({
      {"name = \"a\"\naddress = \"[::]:80\"\nflow-timeout = \"5s\"",
       "f:7:16: [[listener]] flow-timeout: has a meaning only for UDP addresses\n"},
      {"name = \"a\"\naddress = \"udp://[::]:80\"\nflow-timeout = \"0s\"",
       "expected a duration from 1ms to 30d"},
      {"name = \"a\"\naddress = \"udp://[::]:80\"\nconnection-id-byte = 20",
       "f:7:22: [[listener]] connection-id-byte: expected a whole number from 0 to 19, found the number "
       "20\n"},
      {"name = \"a\"\naddress = \"[::]:80\"\nconnection-id-byte = 1",
       "f:7:22: [[listener]] connection-id-byte: has a meaning only for UDP addresses\n"},
      {"name = \"a\"\naddress = \"unix:/x\"\nsteer = true",
       "f:7:9: [[listener]] steer: expected false, for only TCP and UDP addresses can be steered, found "
       "true\n"},
      {"name = \"a\"\nfrom = \"systemd\"\nsteer = true", "f:7:9: [[listener]] steer: expected false"},
      {"name = \"a\"\nfrom = \"systemd\"\nsteer = 0",
       "f:7:9: [[listener]] steer: expected true or false, found the number 0\n"},
  }));
  CAPTURE(listener);
  CHECK_THAT(told(with_listener(listener)), Catch::Contains(message));
}

TEST_CASE("a group may be allowed to steer a rollout") {
  CHECK(
      good(with("", "[control]\ngroup = \"a\"\nallow = [\"Promote\", \"Pause\", \"Resume\", \"SetWeight\"]"))
          .control.allow.size() == 4);
}

TEST_CASE("the variants of an experiment have two different names") {
  CHECK(rollout_of("strategy = \"experiment\"").variants ==
        std::array<std::string, 2>{"control", "treatment"});
  CHECK(rollout_of("strategy = \"experiment\"\nvariants = [\"old\", \"new-1.2_b\"]").variants ==
        std::array<std::string, 2>{"old", "new-1.2_b"});
  std::string two = "expected two different names, those of live and the candidate";
  std::string word = "expected a word of 1 to 32 letters";
  struct {
    std::string variants, problem;
  } const bad[] = {
      {"[\"a\", \"a\"]", two},
      {"[\"a\"]", two},
      {"[\"a\", \"b\", \"c\"]", two},
      {"[]", two},
      {"\"a\"", "expected a list"},
      {"[\"a\", \"\"]", word},
      {"[\"a\", \"2\"]", word},
      {"[\"a\", \"b c\"]", word},
      {"[\"a\", \"{fd:http}\"]", word},
      {"[\"a\", \"" + std::string(33, 'x') + "\"]", word},
      {"[\"a\", 5]", "expected a string"},
  };
  for (auto const& one : bad) {
    std::string problems = told(rolling_out("strategy = \"experiment\"\nvariants = " + one.variants));
    INFO(one.variants << ": " << problems);
    CHECK(problems.find(one.problem) != std::string::npos);
    CHECK(std::ranges::count(problems, '\n') == 1);
  }
  CHECK(told(rolling_out("variants = [\"a\", \"b\"]")) ==
        "f:9:12: [rollout] variants: has a meaning only for strategy = \"experiment\"\n");
}

TEST_CASE("a metric without a bound only observes an experiment, and compares elsewhere") {
  std::string metric = "[[metric]]\nname = \"errors\"\ncommand = [\"/bin/errors\"]\n";
  auto metric_of = [](std::string const& toml) { return good(toml).metrics.at(0); };
  CHECK(metric_of(with("", metric)).ratio == 1);
  auto observed = metric_of(rolling_out("strategy = \"experiment\"", "", metric));
  CHECK_FALSE(observed.ratio);
  CHECK_FALSE(observed.max);
  CHECK(metric_of(rolling_out("strategy = \"experiment\"", "", metric + "max-ratio = 2\n")).ratio == 2);
}
