// [[metric]] in a configuration: where its numbers come from, and which steps it decides about.
#include "config_support.hpp"

using namespace handoff;
using namespace std::chrono_literals;

namespace {

// In these files [[metric]] is line 8, its name line 9, and `keys` begin in line 10.
std::string metric(std::string const& keys, std::string const& service = "", std::string const& more = "") {
  return with(service, "[[metric]]\nname = \"m\"\n" + keys + "\n" + more);
}
std::string page(std::string const& keys) { return "prometheus = { " + keys + " }"; }
std::string const rate = "failures = 'hits{code=~\"5..\"}', all = \"hits\"";

metric_settings read(std::string const& keys, std::string const& service = "", std::string const& more = "") {
  return good(metric(keys, service, more)).metrics.at(0);
}

std::string const two_listeners =
    "[[listener]]\nname = \"dns\"\naddress = \"udp://0.0.0.0:53\"\n[[listener]]\nname = \"local\"\n"
    "address = \"unix:/s\"\nsteer = false\n";
std::string const sticky = "[rollout]\nsticky = true\n";

}  // namespace

TEST_CASE("a page of metrics is asked for as a probe asks", "[metric]") {
  metric_settings m = read(page(rate) + "\ntimeout = \"3s\"");
  CHECK(m.kind == metric_kind::rate);
  CHECK(source_of(m) == metric_source::page);
  CHECK(m.ratio == 1);
  CHECK(m.least == 100);
  CHECK(m.probe == probe_settings{.kind = probe_kind::page,
                                  .listener = "http",
                                  .timeout = 3s,
                                  .path = "/metrics",
                                  .status = {200, 200},
                                  .page = {.failures = "hits{code=~\"5..\"}", .all = "hits"}});
  m = read(page(rate +
                ", listener = \"http\", path = \"/m\", host = \"www\", tls = true, verify = false, header = "
                "[\"A: b\"]"));
  CHECK(m.probe == probe_settings{.kind = probe_kind::page,
                                  .listener = "http",
                                  .timeout = 10s,
                                  .path = "/m",
                                  .status = {200, 200},
                                  .headers = {"A: b"},
                                  .host = "www",
                                  .tls = true,
                                  .verify = false,
                                  .page = {.failures = "hits{code=~\"5..\"}", .all = "hits"}});
}

TEST_CASE("a gauge, and a histogram's mean, are one sample a look", "[metric]") {
  metric_settings gauge = read("kind = \"value\"\n" + page("value = \"queue\""), "instances = 4");
  CHECK(gauge.kind == metric_kind::value);
  CHECK(gauge.probe->page.value == "queue");
  CHECK(gauge.least == 10);
  metric_settings mean = read("kind = \"value\"\nmin-count = 30\n" + page("mean = \"seconds{path='/'}\""));
  CHECK(mean.kind == metric_kind::mean);
  CHECK(mean.least == 30);
}

TEST_CASE("several instances need a page that speaks for all", "[metric]") {
  CHECK(read(page(rate + ", aggregated = true"), "instances = 2").probe->page.aggregated);
  CHECK(read(page(rate), "instances = 1").probe->page.aggregated == false);
  CHECK(told(metric(page(rate), "instances = 2"))
            .starts_with("f:10:14: [[metric]] prometheus: any of the 2 instances answers, each with counters "
                         "of its own: write "
                         "aggregated = true"));
  CHECK_THAT(told(metric("kind = \"value\"\n" + page("mean = \"seconds\""), "instances = 2")),
             Catch::Contains("any of the 2 instances answers"));
}

TEST_CASE("steering counts for a metric, of all listeners or of one", "[metric]") {
  metric_settings queued = read("steering = \"queued\"");
  CHECK(queued.steering == traffic_count::queued);
  CHECK(queued.kind == metric_kind::value);
  CHECK(queued.least == 10);
  CHECK(queued.listener.empty());
  metric_settings connections =
      read("steering = \"connections\"\nlistener = \"http\"\nkind = \"value\"", "", sticky + two_listeners);
  CHECK(connections.kind == metric_kind::flow);
  CHECK(connections.listener == "http");
  CHECK(read("steering = \"connections\"\nmax = 5").kind == metric_kind::flow);
  CHECK(read("steering = \"datagrams\"", "", two_listeners).kind == metric_kind::flow);
}

TEST_CASE("a mistake in a metric's source is told where it stands", "[metric]") {
  auto [toml, message] = GENERATE(table<std::string, std::string>({
      {metric(""), "f:8:1: [[metric]] needs 'command', 'prometheus' or 'steering'\n"},
      {metric("command = [\"/x\"]\nsteering = \"queued\""),
       "f:8:1: [[metric]] needs just one of 'command', 'prometheus' and 'steering'\n"},
      {metric("prometheus = \"/metrics\""), "[[metric]] prometheus: expected a table, found the string"},
      {metric(page("failures = \"e\"")),
       "f:10:14: [[metric]] prometheus needs 'all', or 'value' or 'mean' with kind = \"value\"\n"},
      {metric(page(rate + ", value = \"v\"")), "prometheus value: has a meaning only for kind = \"value\""},
      {metric("kind = \"value\"\n" + page("failures = \"e\"")),
       "prometheus failures: has a meaning only for kind = \"rate\""},
      {metric("kind = \"value\"\n" + page("path = \"/\"")),
       "f:11:14: [[metric]] prometheus needs 'value' or 'mean'\n"},
      {metric("kind = \"value\"\n" + page("value = \"a\", mean = \"b\"")),
       "needs just one of 'value' and 'mean'"},
      {metric(page("failures = 'hits{code~\"5\"}', all = \"hits\"")),
       "f:10:27: [[metric]] prometheus failures: expected =, !=, =~ or !~ behind 'hits{code', found "
       "'~\"5\"}'\n"},
      {metric(page("failures = 'hits{code=~\"5(\"}', all = \"hits\"")),
       "prometheus failures: expected a regular expression, found '\"5(\"': a '(', ')', '*', '+' or '?' "
       "without what"},
      {metric("kind = \"value\"\n" + page("mean = \"seconds_sum\"")),
       "prometheus mean: expected the name of a histogram or summary, without '_sum'"},
      {metric(page(rate + ", verify = false")), "prometheus verify: has a meaning only for tls = true"},
      {metric(page(rate + ", listener = \"htp\"")),
       "[[metric]] prometheus listener: no listener is called 'htp': did you mean 'http'?"},
      {metric(page(rate + ", status = 200")), "unknown key 'status' in [[metric]] prometheus"},
      {metric(page(rate), "", "[rollout]\nsharing = \"shared\""),
       "[[metric]] prometheus: 'http' is shared by all generations (sharing = \"shared\"), so that nobody "
       "knows "
       "which one answers: use 'command'"},
      {metric("steering = \"conns\""),
       "steering: expected 'connections', 'datagrams' or 'queued', found 'conns'"},
      {metric("steering = \"queued\"\nkind = \"rate\""),
       "f:11:8: [[metric]] kind: expected \"value\", of which 'steering' is, found 'rate'\n"},
      {metric("steering = \"connections\""),
       "f:10:12: [[metric]] steering: \"connections\" can be compared with live only with [rollout] sticky = "
       "true"},
      {metric("steering = \"queued\"\nlistener = \"local\"", "", two_listeners),
       "f:11:12: [[metric]] listener: 'local' is not steered (it is a Unix socket)"},
      {metric("steering = \"queued\"\nlistener = \"dns\"", "", two_listeners), "'dns' is no TCP listener"},
      {metric("steering = \"queued\"\nlistener = \"dnss\"", "", two_listeners), "did you mean 'dns'?"},
      {metric("steering = \"datagrams\""),
       "steering: needs a UDP listener that is steered, and there is none"},
      {metric("steering = \"queued\"", "", "[rollout]\nsharing = \"shared\""),
       "needs a TCP listener that is steered"},
      {metric("command = [\"/x\"]\nlistener = \"http\""), "listener: has a meaning only for 'steering'"},
      {metric("steering = \"connections\"", "",
              "[rollout]\nsticky = true\nroute = [{ from = \"::1\", to = \"candidate\" }]"),
       "cannot be compared with live beside [rollout] 'route'"},
  }));
  CAPTURE(toml);
  CHECK_THAT(told(toml), Catch::Contains(message));
  CHECK(read_config(toml).problems.size() == 1);
}

TEST_CASE("steps choose their checks and metrics by name", "[metric]") {
  auto with_steps = [](std::string const& steps) {
    return with("", "[rollout]\nstrategy = \"canary\"\nsteps = [" + steps +
                        "]\n[[check]]\nname = \"smoke\"\ncommand = [\"/c\"]\n[[check]]\ncommand = [\"/c\"]\n"
                        "[[metric]]\nname = \"errors\"\ncommand = [\"/m\"]\n");
  };
  auto steps = good(with_steps("{ weight = 5, hold = \"1s\", checks = [\"smoke\", \"check 2\"], metrics = "
                               "[\"errors\"] }, { weight = 6, checks = [], metrics = [] }, { weight = 7 }"))
                   .rollout.steps;
  CHECK(steps ==
        std::vector<canary_step>{{weight{500}, 1s, selection{{"smoke", "check 2"}}, selection{{"errors"}}},
                                 {weight{600}, 0ms, selection(std::in_place), selection(std::in_place)},
                                 {weight{700}, 0ms, {}, {}}});
  auto [step, message] = GENERATE(table<std::string, std::string>({
      {"{ weight = 5, checks = [\"smok\"] }",
       "f:10:34: [rollout] steps checks: no [[check]] is called 'smok': did you mean 'smoke'?\n"},
      {"{ weight = 5, pause = true, metrics = [\"smoke\"] }",
       "f:10:49: [rollout] steps metrics: no [[metric]] is called 'smoke'\n"},
      {"{ weight = 5, checks = \"smoke\" }", "steps checks: expected a list, found the string 'smoke'\n"},
      {"{ weight = 5, metrics = [\"errors\"] }",
       "[rollout] steps metrics: needs 'hold' or 'pause' beside it, to be read meanwhile\n"},
  }));
  CAPTURE(step);
  CHECK_THAT(told(with_steps(step)), Catch::EndsWith(message));
  CHECK(read_config(with_steps(step)).problems.size() == 1);
}
