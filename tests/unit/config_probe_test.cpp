// Probes of [ready] and [[check]] in a configuration.
#include "config_support.hpp"

#include <wire/config_values.hpp>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

std::string ready(std::string const& keys, std::string const& rest = "") {
  return with("", "[ready]\n" + keys + "\n" + rest);
}

// A [ready] that asks a listener of this kind.
std::string asking(std::string const& listener, std::string const& rest = "") {
  return with_listener("name = \"l\"\n" + listener + "\n[ready]\nwhen = \"http\"\n" + rest);
}

}  // namespace

TEST_CASE("a probe has defaults and asks the first TCP listener") {
  settings s = good(ready("when = \"http\"", "[[check]]\ntcp = {}\n[[check]]\nhttp = {}"));
  CHECK(s.service.ready.when == readiness::http);
  REQUIRE(s.service.ready.probe);
  CHECK(*s.service.ready.probe == probe_settings{.listener = "http"});
  CHECK(s.checks.at(0).probe == probe_settings{.kind = probe_kind::tcp, .listener = "http"});
  CHECK(s.checks.at(1).probe == probe_settings{.kind = probe_kind::http, .listener = "http"});
  CHECK(s.checks.at(0).command.empty());
  CHECK_FALSE(good(with("")).service.ready.probe);

  settings mixed =
      good("[ready]\nwhen = \"tcp\"\n" +
           with_listener("name = \"u\"\naddress = \"unix:/u\"\n[[listener]]\nname = \"q\"\naddress = "
                         "\"udp://0.0.0.0:80\"\n[[listener]]\nname = \"t\"\naddress = \"[::1]:80\""));
  CHECK(mixed.service.ready.probe == probe_settings{.kind = probe_kind::tcp, .listener = "t"});
}

TEST_CASE("every key of a probe reaches its setting, wherever it stands") {
  probe_settings const expected{.kind = probe_kind::http,
                                .listener = "http",
                                .timeout = 3s,
                                .path = "/a?b=c",
                                .status = {204, 204},
                                .body = "fine",
                                .headers = {"Accept: */*", "X-Y:z"},
                                .host = "[::1]:80",
                                .tls = true,
                                .verify = false};
  std::string keys[] = {"listener = \"http\"", "probe-timeout = \"3s\"",
                        "path = \"/a?b=c\"",   "status = 204",
                        "body = \"fine\"",     "header = [\"Accept: */*\", \"X-Y:z\"]",
                        "host = \"[::1]:80\"", "tls = true",
                        "verify = false"};
  std::string lines, items;
  for (auto const& key : keys) {
    lines += key + "\n";
    items += (items.empty() ? "" : ", ") + key;
  }
  CHECK(good(ready(lines + "when = \"http\"\ninterval = \"1s\"")).service.ready.probe == expected);
  CHECK(good(with("", "[[check]]\nhttp = {" + items + "}")).checks.at(0).probe == expected);
  CHECK(good(ready("when = \"http\"\nstatus = \"200-299\"")).service.ready.probe->status ==
        status_range{200, 299});
}

TEST_CASE("a mistake in a probe is told where it stands") {
  auto [toml, message] = GENERATE(table<std::string, std::string>({
      {ready("path = \"/x\""), "f:9:8: [ready] path: has a meaning only for when = \"http\"\n"},
      {ready("when = \"tcp\"\nbody = \"x\""), "[ready] body: has a meaning only for when = \"http\""},
      {ready("when = \"exec\"\ncommand = [\"/x\"]\nlistener = \"http\""),
       "listener: has a meaning only for when = \"http\" or \"tcp\""},
      {ready("when = \"http\"\nverify = false"), "verify: has a meaning only for tls = true"},
      {ready("when = \"http\"\ncommand = [\"/x\"]"), "command: has a meaning only for when = \"exec\""},
      {ready("when = \"http\"\npath = \"healthz\""), "path: expected a path such as \"/healthz\""},
      {ready("when = \"http\"\npath = \"/a b\""), "expected a path such as"},
      {ready("when = \"http\"\npath = \"/a#b\""), "expected a path such as"},
      {ready("when = \"http\"\nstatus = 99"), "expected a whole number from 100 to 599"},
      {ready("when = \"http\"\nstatus = \"300-200\""), "expected a status from 100 to 599, or a range"},
      {ready("when = \"http\"\nbody = \"\""), "body: must not be empty"},
      {ready("when = \"http\"\nheader = [\"Accept\"]"), "expected a header such as \"Accept: text/plain\""},
      {ready("when = \"http\"\nheader = [\"A: b\\r\\nC: d\"]"), "expected a header such as"},
      {ready("when = \"http\"\nheader = [\"HOST: b\"]"), "the key 'host' sets that header"},
      {ready("when = \"http\"\nhost = \"user@example.org\""), "expected a host such as"},
      {ready("when = \"http\"\nhost = \"example.org/x\""), "expected a host such as"},
      {ready("when = \"http\"\nprobe-timeout = \"0s\""), "from 1ms to 30d"},
      {ready("when = \"http\"\nlistener = \"htp\""),
       "f:10:12: [ready] listener: no listener is called 'htp': did you mean 'http'?\n"},
      {with("", "[[check]]\ncommand = [\"/x\"]\ntcp = {}"), "needs just one of 'command', 'http' and 'tcp'"},
      {with("", "[[check]]\nhttp = {}\ntcp = {}"), "needs just one of 'command', 'http' and 'tcp'"},
      {with("", "[[check]]\nhttp = \"/\""), "[[check]] http: expected a table, found the string '/'"},
      {with("", "[[check]]\ntcp = { path = \"/\" }"), "unknown key 'path' in [[check]] tcp"},
      {with("", "[[check]]\nhttp = { verify = true }"), "[[check]] http verify: has a meaning only for tls"},
  }));
  CAPTURE(toml);
  CHECK_THAT(told(toml), Catch::Contains(message));
}

TEST_CASE("only a listener where each generation has its own slot can be probed") {
  auto [toml, message] = GENERATE(table<std::string, std::string>({
      {asking("address = \"unix:/x\""),
       "[ready] when: a probe needs a TCP listener, and there is none: use when"},
      {asking("address = \"unix:/x\"", "listener = \"l\""),
       "[ready] listener: 'l' is shared by all generations (it is a Unix socket), so that nobody knows which "
       "one "
       "answers: use when = \"exec\" or \"notify\""},
      {asking("from = \"systemd\"", "listener = \"l\""), "(it is adopted from systemd)"},
      {asking("address = \"udp://0.0.0.0:80\"", "listener = \"l\""), "'l' is no TCP listener"},
      {asking("address = \"0.0.0.0:80\"\nsteer = false"),
       "f:9:8: [ready] when: 'l' is shared by all generations "
       "(steer = false)"},
      {asking("address = \"0.0.0.0:80\"", "[rollout]\nsharing = \"shared\""), "(sharing = \"shared\")"},
      {asking("address = \"0.0.0.0:80\"\ninterface = \"eth0\""), "takes only what comes from 'eth0'"},
      {asking("address = \"192.0.2.1:80\"\nfreebind = true"),
       "'l' has 'freebind', so that its address may not"},
      {asking("address = \"[2001:db8::1]:80\"\ntransparent = true"), "'l' has 'transparent', so"},
      {with_listener("name = \"l\"\naddress = \"0.0.0.0:80\"\ndefer-accept = \"1s\"\n[[check]]\ntcp = {}"),
       "[[check]] tcp: 'l' has 'defer-accept', and this probe sends nothing: use 'command'"},
      {with_listener("name = \"l\"\naddress = \"0.0.0.0:80\"\nsteer = false\n[[check]]\nhttp = {}"),
       "so that nobody knows which one answers: use 'command'"},
  }));
  CAPTURE(toml);
  CHECK_THAT(told(toml), Catch::Contains(message));
  CHECK(read_config(toml).problems.size() == 1);
}

TEST_CASE("headers are bounded in number") {
  auto many = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += "\"A: b\",";
    return ready("when = \"http\"\nheader = [" + list + "]");
  };
  CHECK(told(many(limit::probe_headers)) == "");
  CHECK_THAT(told(many(limit::probe_headers + 1)), Catch::Contains("must not have more than 32 headers"));
}

TEST_CASE("a status is a code or a range") {
  CHECK(parse_status_range("200") == status_range{200, 200});
  CHECK(parse_status_range("100-599") == status_range{100, 599});
  CHECK(status_text({200, 200}) == "200");
  CHECK(status_text({200, 399}) == "200-399");
  for (auto text :
       {"", "-", "99", "600", "200-", "-200", "200-199", "200-600", "200 - 300", "2xx", "200-300-400"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_status_range(text));
  }
}
