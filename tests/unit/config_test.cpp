#include "config_support.hpp"

#include <wire/config_grammar.hpp>

using namespace handoff;
using namespace std::chrono_literals;

TEST_CASE("a small configuration has the defaults of the contract") {
  settings expected;
  expected.service.name = "web";
  expected.service.command = {"/bin/web"};
  expected.listeners = {{"http", inet_address{"0.0.0.0", 80}, socket_type::stream, {}}};
  CHECK(good(with("")) == expected);
  CHECK(expected.service.ready.timeout == 30s);
  CHECK(expected.service.drain.timeout == 60s);
}

TEST_CASE("every key of [service] reaches its setting") {
  service_settings s = good(with(R"(
instances = 3
user = "www"
group = "web"
supplementary-groups = ["a", "b"]
working-directory = "/srv"
umask = "0027"
environment = { B = "2", A = "{fd:http}" }
environment-file = ["/e", "-/f"]
pass-environment = ["TZ"]
limits = { nofile = 65536, core = "infinity", nproc = "1K:2K" }
nice = -5
oom-score-adjust = -900
no-new-privileges = true
ambient-capabilities = ["CAP_NET_RAW"]
output = "file:/var/log/web"
watchdog = "3s"
fd-store-max = 7)"))
                           .service;
  constexpr auto infinity = std::numeric_limits<std::uint64_t>::max();
  CHECK(s.instances == 3);
  CHECK(s.user == "www");
  CHECK(s.group == "web");
  CHECK(s.supplementary_groups == std::vector<std::string>{"a", "b"});
  CHECK(s.working_directory == "/srv");
  CHECK(s.umask == 027U);
  CHECK(s.environment == std::vector<std::pair<std::string, std::string>>{{"B", "2"}, {"A", "{fd:http}"}});
  CHECK(s.environment_files == std::vector<std::string>{"/e", "-/f"});
  CHECK(s.pass_environment == std::vector<std::string>{"TZ"});
  CHECK(s.limits == std::vector<resource_limit>{
                        {"nofile", 65536, 65536}, {"core", infinity, infinity}, {"nproc", 1024, 2048}});
  CHECK(s.nice == -5);
  CHECK(s.oom_score_adjust == -900);
  CHECK(s.no_new_privileges);
  CHECK(s.ambient_capabilities == std::vector<std::string>{"CAP_NET_RAW"});
  CHECK(s.output == output_settings{output_kind::file, "/var/log/web"});
  CHECK(s.watchdog == 3s);
  CHECK(s.fd_store_max == 7);
  CHECK(good(with("environment-file = \"/e\"")).service.environment_files == std::vector<std::string>{"/e"});
}

TEST_CASE("every key of a listener reaches its setting") {
  socket_options o = good(with_listener(R"(
name = "http"
address = "[::]:80"
backlog = 9
v6only = true
freebind = true
transparent = true
keepalive = true
nodelay = true
non-blocking = true
interface = "eth0"
mark = 4294967295
receive-buffer = "64K"
send-buffer = 1000
fast-open = 5
defer-accept = "3s")"))
                         .listeners.at(0)
                         .options;
  socket_options expected;
  expected.backlog = 9;
  expected.v6only = expected.freebind = expected.transparent = expected.keepalive = expected.nodelay =
      expected.non_blocking = true;
  expected.interface = "eth0";
  expected.mark = 4294967295U;
  expected.receive_buffer = 65536U;
  expected.send_buffer = 1000U;
  expected.fast_open = 5U;
  expected.defer_accept = 3s;
  CHECK(o == expected);

  listener_settings path = good(with_listener(R"(
type = "seqpacket"
address = "unix:/run/x"
name = "x"
user = "www"
group = "7"
mode = "0600")"))
                               .listeners.at(0);
  expected = {};
  expected.user = "www";
  expected.group = "7";
  expected.mode = 0600;
  CHECK(path == listener_settings{"x", unix_address{"/run/x"}, socket_type::seqpacket, expected});

  listener_settings adopted =
      good(with_listener("name = \"x\"\nfrom = \"systemd\"\ntype = \"datagram\"")).listeners.at(0);
  CHECK(adopted == listener_settings{"x", systemd_address{}, socket_type::datagram, {}});
}

TEST_CASE("every key of the other sections reaches its setting") {
  // Sections may stand in any order, also before [service].
  settings s = good(
      "[ready]\nwhen = \"exec\"\ntimeout = \"20m\"\ncommand = [\"/r\", \"x\"]\ninterval = \"1s\"\n"
      "[drain]\nsignal = \"SIGQUIT\"\ntimeout = \"0s\"\nkill-timeout = \"1s\"\n" +
      with("", R"(
[restart]
backoff = "1s..2s"
burst = 9
window = "3s"
[rollout]
strategy = "handoff"
bake = "1m"
max-draining = 1
candidate-restarts = 2
[[check]]
command = ["/c"]
[[check]]
name = "deep"
command = ["/d"]
interval = "2s"
timeout = "3s"
failures = 4
during-bake = true
[hooks]
switched = ["/s", "1"]
preflight = { command = ["/p"], user = "root", timeout = "7s" }
[control]
group = "ops"
allow = ["Status", "Abort"]
[log]
file = "/var/log/h"
level = "debug")"));
  CHECK(s.service.ready == ready_settings{readiness::exec, 20min, 20min, {"/r", "x"}, 1s, 1s});
  CHECK(s.service.drain == drain_settings{3, 0s, 1s});
  CHECK(s.restart == restart_settings{1s, 2s, 9, 3s});
  CHECK(s.rollout == rollout_settings{.bake = 1min, .max_draining = 1, .candidate_restarts = 2});
  CHECK(s.checks == std::vector<check_settings>{{"check 1", {"/c"}, 1s, 10s, 0, false},
                                                {"deep", {"/d"}, 2s, 3s, 4, true}});
  CHECK(s.hooks == std::vector<hook_settings>{{hook::preflight, {"/p"}, "root", 7s},
                                              {hook::switched, {"/s", "1"}, "", 30s}});
  CHECK(s.control == control_settings{"ops", {"Status", "Abort"}});
  CHECK(s.log == log_settings{"/var/log/h", log_level::debug});
  CHECK(good(with("", "[ready]\nwhen = \"alive\"\nfor = \"2s\"")).service.ready.alive_for == 2s);
}

TEST_CASE("a problem says where, what was expected and what was found") {
  auto [toml, message] = GENERATE(table<std::string, std::string>({
      {"", "f: the file needs 'service'\nf: the file needs 'listener'\n"},
      {"a = ", "f:1:5: not TOML"},
      {"[service", "f:1:9: not TOML"},
      {with("comand = 1"), "f:4:1: unknown key 'comand' in [service]: did you mean 'command'?\n"},
      {with("xyz = 1"), "f:4:1: unknown key 'xyz' in [service]\n"},
      {with("", "[raedy]"), "f:8:2: unknown section 'raedy': did you mean 'ready'?\n"},
      {with("\"\\u001b[2J\" = 1"), "f:4:1: unknown key '?[2J' in [service]\n"},
      {with("instances = \"2\""),
       "f:4:13: [service] instances: expected a whole number from 1 to 256, found the string '2'\n"},
      {with("instances = 257"), "found the number 257"},
      {with("instances = 0"), "found the number 0"},
      {with("instances = 1.5"), "expected a whole number from 1 to 256, found the fraction 1.5"},
      {with("instances = 1979-05-27"), "found a date or time"},
      {with("user = []"), "[service] user: expected a string, found a list"},
      {with("user = \"a b\""), "[service] user: expected a name or a number, found 'a b'"},
      {with("umask = 18"), "[service] umask: expected an octal text such as \"0022\", found the number 18"},
      {with("nice = 20"), "from -20 to 19"},
      {with("oom-score-adjust = -1001"), "from -1000 to 1000"},
      {with("no-new-privileges = 1"), "expected true or false, found the number 1"},
      {with("fd-store-max = 513"), "from 0 to 512"},
      {with("limits = { nofiles = 1 }"), "unknown key 'nofiles' in [service] limits: did you mean 'nofile'?"},
      {with("limits = { nofile = -1 }"), "from 0 to"},
      {with("environment = { \"A=B\" = \"\" }"), "must not contain '='"},
      {with("environment = { NOTIFY_SOCKET = \"\" }"), "'NOTIFY_SOCKET' is set by handoffd itself"},
      {with("pass-environment = [\"HANDOFF_SERVICE\"]"), "is set by handoffd itself"},
      {with("environment = { A = 1 }"), "[service] environment: expected a string, found the number 1"},
      {with("environment-file = \"web.env\""), "expected an absolute path, found 'web.env'"},
      {with("working-directory = \"/a\\u0000b\""), "must not contain a NUL"},
      {with("ambient-capabilities = [\"CAP_NET_BIND\"]"), "unknown capability 'CAP_NET_BIND'"},
      {with("supplementary-groups = [\"a\"]"), "needs 'user' beside it"},
      {with("watchdog = 30"), "expected a duration such as \"30s\", found the number 30"},
      {with("watchdog = \"30\""), "expected a duration such as \"30s\", \"500ms\" or \"1h30m\", found '30'"},
      {with("watchdog = \"31d\""), "expected a duration from 1ms to 30d, found the string '31d'"},
      {with("", "[service]"), "f:8:1: not TOML"},
      {"service = 3\n[[listener]]\nname = \"a\"\nfrom = \"systemd\"",
       "f:1:11: [service]: expected a table, found the number 3\n"},
      {with("", "[[ready]]"), "[ready] may stand only once"},
      {"listener = 3\n" + with("").substr(0, 45), "write [[listener]] above each"},
      {"listener = []\n" + with("").substr(0, 45), "f:1:12: the file needs at least one [[listener]]\n"},
  }));
  CAPTURE(toml, message);
  CHECK_THAT(told(toml), Catch::Contains(message));
}

TEST_CASE("the names of services become file names") {
  auto name = GENERATE("", ".web", "-web", "a/b", "a b", "\xC3\xBC", "..");
  std::string toml = with("");
  toml.replace(toml.find("web"), 3, name);
  CAPTURE(name);
  CHECK_THAT(told(toml), Catch::Contains("f:2:8: [service] name: must have 1 to 64 letters"));
}

TEST_CASE("bounds hold at the limit and one past it") {
  auto named = [](std::size_t length) {
    return "[service]\nname = \"" + std::string(length, 'x') +
           "\"\ncommand = [\"/x\"]\n[[listener]]\nname=\"a\"\nfrom=\"systemd\"\n";
  };
  CHECK(told(named(limit::name_length)) == "");
  CHECK(told(named(limit::name_length + 1)) != "");

  auto listening = [](std::size_t length) {
    return with_listener("from = \"systemd\"\nname = \"" + std::string(length, 'x') + "\"");
  };
  CHECK(told(listening(limit::listener_name_length)) == "");
  CHECK(told(listening(limit::listener_name_length + 1)) != "");

  auto checked = [](std::size_t count) {
    std::string checks;
    for (std::size_t i = 0; i < count; ++i) checks += "[[check]]\ncommand = [\"/c\"]\n";
    return with("", checks);
  };
  CHECK(told(checked(limit::checks)) == "");
  CHECK_THAT(told(checked(limit::checks + 1)), Catch::Contains("at most 32 [[check]], found 33"));

  auto listeners = [](std::size_t count) {
    std::string text = with("");
    for (std::size_t i = 1; i < count; ++i) {
      text += "[[listener]]\nname = \"" + std::to_string(i) + "\"\nfrom = \"systemd\"\n";
    }
    return text;
  };
  CHECK(good(listeners(limit::listeners)).listeners.size() == limit::listeners);
  CHECK_THAT(told(listeners(limit::listeners + 1)), Catch::Contains("at most 4096 [[listener]], found 4097"));

  std::string padded = with("");
  padded.append(limit::configuration_bytes - padded.size(), '\n');
  CHECK(told(padded) == "");
  CHECK(told(padded + "\n") == "f: the file is larger than 1024 KiB\n");
}

TEST_CASE("deep and endless texts are refused, not followed") {
  std::string parts, lists;
  for (int i = 0; i < 250'000; ++i) parts += "a.";
  lists.append(500'000, '[');
  CHECK_THAT(told(parts + "a = 1"), Catch::Contains("f:1:32: a key has more than 16 parts"));
  CHECK_THAT(told("[" + parts + "a]"), Catch::Contains("a key has more than 16 parts"));
  CHECK_THAT(told("a = " + lists), Catch::Contains("not TOML"));
  // What toml++ 3.3 asserts and declares unreachable.
  CHECK_THAT(told(std::string("a = 1979-05-27T\0", 16)), Catch::Contains("not TOML"));
  CHECK_THAT(told("a = \xC3\xBC"), Catch::Contains("not TOML"));
}

TEST_CASE("all problems are told, in the order of the file, and bounded in number") {
  std::string toml =
      with("instances = 0\nuser = 3", "mode = \"9\"\n[drain]\nsignal = \"SIGSTOP\"\n[log]\nlevel = 3");
  auto problems = read_config(toml).problems;
  REQUIRE(problems.size() == 5);
  CHECK(problems[0].line == 4);
  CHECK(problems[1].line == 5);
  CHECK(problems[2].line == 9);
  CHECK(problems[3].line == 11);
  CHECK(problems[4].line == 13);

  std::string many;
  for (int i = 0; i < 1000; ++i) many += "x" + std::to_string(i) + " = 1\n";
  problems = read_config(with(many)).problems;
  REQUIRE(problems.size() == limit::config_problems + 1);
  CHECK(problems.back().what == "and 900 more problems");
}

TEST_CASE("listeners are told apart and keep to what their kind can do") {
  auto [listener, message] = GENERATE(table<std::string, std::string>({
      {"address = \"0.0.0.0:80\"", "f:4:1: [[listener]] needs 'name'\n"},
      {"name = \"a:b\"\nfrom = \"systemd\"", "no colon"},
      {"name = \"a\\tb\"\nfrom = \"systemd\"", "printable ASCII"},
      {"name = \"\"\nfrom = \"systemd\"", "must have 1 to 255"},
      {"name = \"a\"", "f:4:1: [[listener]] needs 'address' or from = \"systemd\"\n"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\nfrom = \"systemd\"",
       "f:7:8: [[listener]] from: excludes 'address'\n"},
      {"name = \"a\"\nfrom = \"inetd\"", "[[listener]] from: expected 'systemd', found 'inetd'"},
      {"name = \"a\"\naddress = \"localhost:80\"", "expected a numeric host"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\nmode = \"0600\"",
       "mode: has a meaning only for paths of Unix sockets"},
      {"name = \"a\"\naddress = \"unix:@x\"\nuser = \"www\"",
       "user: has a meaning only for paths of Unix sockets"},
      {"name = \"a\"\naddress = \"unix:/x\"\nnodelay = true", "nodelay: has a meaning only for TCP"},
      {"name = \"a\"\naddress = \"udp://0.0.0.0:80\"\nnodelay = true", "nodelay: has a meaning only for TCP"},
      {"name = \"a\"\naddress = \"udp://0.0.0.0:80\"\nbacklog = 5",
       "only for sockets that accept connections"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\nv6only = true",
       "v6only: has a meaning only for IPv6 addresses"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\ntype = \"datagram\"", "for UDP write address = \"udp://"},
      {"name = \"a\"\nfrom = \"systemd\"\nmark = 3", "mark: has a meaning only for IP addresses"},
      {"name = \"a\"\nfrom = \"systemd\"\nsend-buffer = 3", "only for sockets that handoffd makes itself"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\ndefer-accept = \"1500ms\"",
       "expected whole seconds, found 1s500ms"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\nreceive-buffer = 0", "from 1 to 1073741824"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\nreceive-buffer = \"2G\"", "a size from 1 to 1G"},
      {"name = \"a\"\naddress = \"0.0.0.0:80\"\ninterface = \"sixteen-letters-\"", "more than 15 bytes"},
      {"name = \"a\"\nfrom = \"systemd\"\n[[listener]]\nname = \"a\"\nfrom = \"systemd\"",
       "f:8:8: [[listener]] name: 'a' stands already in line 5\n"},
      {"name = \"a\"\naddress = \"[::1]:80\"\n[[listener]]\nname = \"b\"\naddress = \"[0::1]:80\"",
       "f:9:11: [[listener]] address: '[::1]:80' stands already in line 6\n"},
  }));
  CAPTURE(listener);
  CHECK_THAT(told(with_listener(listener)), Catch::Contains(message));
}

TEST_CASE("the same port is another address for UDP and on another interface") {
  CHECK(told(with("",
                  "[[listener]]\nname = \"u\"\naddress = \"udp://0.0.0.0:80\"\n"
                  "[[listener]]\nname = \"i\"\naddress = \"0.0.0.0:80\"\ninterface = \"eth0\"")) == "");
}

TEST_CASE("keys that depend on each other are checked together") {
  auto [rest, message] = GENERATE(table<std::string, std::string>({
      {"[ready]\nwhen = \"exec\"", "f:9:8: [ready] when: \"exec\" needs 'command' beside it\n"},
      {"[ready]\ncommand = [\"/x\"]", "command: has a meaning only for when = \"exec\""},
      {"[ready]\ninterval = \"1s\"", "interval: has a meaning only for when = \"exec\""},
      {"[ready]\nfor = \"1s\"", "for: has a meaning only for when = \"alive\""},
      {"[ready]\nwhen = \"alive\"\nfor = \"30s\"", "must be shorter than 'timeout', which is 30s"},
      {"[ready]\ntimeout = \"1m\"\nextend-max = \"59s\"", "is shorter than 'timeout', which is 1m"},
      {"[restart]\nbackoff = \"2s..1s\"", "the first duration is longer than the second"},
      {"[restart]\nbackoff = \"0s..1s\"", "from 1ms to 30d"},
      {"[rollout]\nmax-draining = 0", "from 1 to 64"},
      {"[[check]]", "f:8:1: [[check]] needs 'command', 'http' or 'tcp'\n"},
      {"[[check]]\ncommand = [\"/x\"]\n[[check]]\nname = \"check 1\"\ncommand = [\"/x\"]\n[[check]]\nname = "
       "\"check 1\"\n"
       "command = [\"/x\"]",
       "stands already in line"},
      {"[hooks]\nredy = [\"/x\"]", "unknown key 'redy' in [hooks]: did you mean 'ready'?"},
      {"[hooks]\nready = \"/x\"", "[hooks] ready: expected a list, found the string '/x'"},
      {"[hooks]\nready = []", "[hooks] ready: must name a program"},
      {"[hooks]\nready = [\"x\"]", "[hooks] ready: the program: expected an absolute path, found 'x'"},
      {"[hooks]\nready = { user = \"x\" }", "[hooks] ready needs 'command'"},
      {"[control]\nallow = [\"Status\"]", "allow: needs 'group' beside it"},
      {"[control]\ngroup = \"ops\"", "group: needs 'allow' beside it"},
      {"[control]\ngroup = \"ops\"\nallow = [\"status\"]", "expected 'Status', 'Upgrade'"},
      {"[log]\nfile = \"x.log\"", "expected an absolute path"},
  }));
  CAPTURE(rest);
  CHECK_THAT(told(with("", rest)), Catch::Contains(message));
}

TEST_CASE("what only a later version can do is refused in words") {
  CHECK_THAT(told(with("", "[ready]\nwhen = \"listening\"")),
             Catch::Contains("'listening' is not supported by this version; it supports 'notify', 'exec', "
                             "'http', 'tcp' or 'alive'"));
}

TEST_CASE("{fd:NAME} names a listener") {
  CHECK(told(with("environment = { A = \"{fd:http}{fd:http}\", B = \"{}{fd}{fd:\" }")) == "");
  CHECK_THAT(
      told(with("environment = { A = \"x{fd:htp}\" }")),
      Catch::Contains("f:4:21: [service] environment: no listener is called 'htp': did you mean 'http'?"));
  std::string toml = with("");
  toml.replace(toml.find("\"/bin/web\""), 10, "\"/bin/web\", \"--fd={fd:http}{fd:}\"");
  CHECK_THAT(told(toml), Catch::Contains("f:3:24: [service] command: no listener is called ''"));
}

TEST_CASE("one mistake is one problem") {
  auto toml =
      GENERATE(as<std::string>{},
               with("", "[ready]\nwhen = \"listening\"\ncommand = [\"/x\"]\nfor = \"1s\"\npath = \"/\""),
               with("environment = { A = \"{fd:http}\" }", "[[listener]]\nname = 3\nfrom = \"systemd\""),
               with_listener("name = \"a\"\naddress = \"nonsense\"\nmode = \"0600\""),
               with("", "[ready]\nwhen = \"alive\"\ntimeout = 3\nfor = \"1h\""));
  INFO(told(toml));
  CHECK(read_config(toml).problems.size() == 1);
}

TEST_CASE("the methods that [control] may allow are those of the interface") {
  std::string interface = content("src/wire/io.handoff.Supervisor.varlink");
  std::size_t methods = 0;
  constexpr std::string_view keyword = "\nmethod ";
  for (auto at = interface.find(keyword); at != std::string::npos; at = interface.find(keyword, at + 1)) {
    std::size_t start = at + keyword.size();
    std::string name = interface.substr(start, interface.find('(', start) - start);
    CAPTURE(name);
    CHECK(told(with("", "[control]\ngroup = \"a\"\nallow = [\"" + name + "\"]")) == "");
    ++methods;
  }
  CHECK(methods == 14);
}

TEST_CASE("the examples are valid") {
  auto name =
      GENERATE("handoff", "gunicorn", "uvicorn", "node", "haproxy", "canary", "blue-green", "rolling");
  CAPTURE(name);
  CHECK(told(content("examples/" + std::string(name) + ".toml")) == "");
}

TEST_CASE("the annotated example and the manual leave no key out") {
  std::string example = content("examples/handoff.toml");
  std::string manual = content("man/handoff.toml.5.scd");
  std::vector<std::string> keys = configuration_keys();
  CHECK(keys.size() > 75);
  for (std::string const& full : keys) {
    CAPTURE(full);
    std::string key = full.substr(full.find('.') + 1);
    CHECK(example.find(key + " = ") != std::string::npos);
    CHECK(manual.find("*" + key + "*") != std::string::npos);
  }
}
