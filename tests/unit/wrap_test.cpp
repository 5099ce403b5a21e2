// Putting a unit of systemd under handoffd: what becomes of its lines, as text and as settings.
#include "config_support.hpp"

#include <cli/wrap_files.hpp>
#include <cli/wrap_words.hpp>

#include <csignal>

using namespace handoff;
using namespace handoff::cli;

namespace {

unit_command run(std::vector<std::string> words) { return {.words = std::move(words)}; }

listener_settings tcp_at(std::string host, std::uint16_t port) {
  return {"", inet_address{std::move(host), port}, socket_type::stream, {}};
}

// A service that takes its sockets as from systemd.
surroundings plain(std::vector<directive> written = {}) {
  surroundings of;
  of.unit.id = "app.service";
  of.unit.type = "simple";
  of.unit.start = {run({"/usr/bin/gunicorn", "app:application"})};
  of.unit.start_timeout = of.unit.stop_timeout = std::chrono::seconds(90);
  of.unit.written = std::move(written);
  of.listeners = {tcp_at("0.0.0.0", 8000)};
  return of;
}

surroundings nginx() {
  auto of = plain({{"Type", "forking"},
                   {"PIDFile", "/run/nginx.pid"},
                   {"ExecStartPre", "/usr/sbin/nginx -t"},
                   {"ExecStart", "/usr/sbin/nginx -g 'daemon on; master_process on;'"},
                   {"ExecReload", "/usr/sbin/nginx -s reload"},
                   {"ExecStop", "-/sbin/start-stop-daemon --stop"},
                   {"TimeoutStopSec", "5"},
                   {"KillMode", "mixed"}});
  of.unit.id = "nginx.service";
  of.unit.type = "forking";
  of.unit.start_pre = {run({"/usr/sbin/nginx", "-t"})};
  of.unit.start = {run({"/usr/sbin/nginx", "-g", "daemon on; master_process on;"})};
  of.unit.stop_timeout = std::chrono::seconds(5);
  of.listeners = {tcp_at("0.0.0.0", 80), tcp_at("::", 80), tcp_at("0.0.0.0", 443)};
  of.listeners[1].options.v6only = true;
  return of;
}

// What is decided, which our own reader has to read from the text.
settings configured(wrapping const& w) {
  auto text = configuration_text(w.configuration, w.unit);
  auto read = good(text);
  CHECK(read == w.configuration);
  return read;
}

decision about(wrapping const& w, std::string const& name) {
  for (auto const& d : w.decisions)
    if (d.directive == name) return d;
  FAIL("nothing is said about " << name);
  return {};
}

bool has_line(wrapping const& w, std::string const& line) {
  return std::ranges::find(w.lines, line) != w.lines.end();
}

std::string refusals(wrapping const& w) {
  std::string all;
  for (auto const& d : w.decisions)
    if (d.what == fate::refused) all += d.directive + ": " + d.why + "\n";
  return all;
}

}  // namespace

TEST_CASE("the lines of a unit's service are read as systemd reads them", "[wrap]") {
  auto read = directives_of(
      "[Unit]\nType=no\n[Service]\n# Type=comment\nType = simple \nExecStart=/bin/a \\\n  b \\\n# between\n  "
      "c\n"
      "ExecStart=\n; no\nnonsense\n[Install]\nAlias=x\n[Service]\nNice=5");
  CHECK(read == std::vector<directive>{
                    {"Type", "simple"}, {"ExecStart", "/bin/a  b  c"}, {"ExecStart", ""}, {"Nice", "5"}});
}

TEST_CASE("variables of a command are put in as systemd does", "[wrap]") {
  variables const known{{"A", "old"}, {"A", "one two"}, {"Q", "'a b' c\"d e\""}, {"E", ""}};
  auto [says, word, words] = GENERATE(table<char const*, std::string, std::vector<std::string>>({
      {"nothing to put in", "plain", {"plain"}},
      {"alone it is split, and the last one counts", "$A", {"one", "two"}},
      {"in braces it is one word", "${A}", {"one two"}},
      {"in the middle of a word", "x${A}y", {"xone twoy"}},
      {"without braces only alone", "x$A", {"x$A"}},
      {"quotes hold blanks together", "$Q", {"a b", "cd e"}},
      {"empty alone is no word", "$E", {}},
      {"empty in braces is an empty word", "${E}", {""}},
      {"what is not there is empty", "$NO", {}},
      {"two dollars are one", "$$A", {"$A"}},
      {"two dollars in braces", "a$${A}", {"a${A}"}},
      {"no end of the braces", "${A", {"${A"}},
  }));
  CAPTURE(says);
  std::vector<std::string> used;
  CHECK(expand({word}, known, used) == words);
}

TEST_CASE("properties of a unit are understood", "[wrap]") {
  auto property = [](json value) { return json{{"type", "?"}, {"data", std::move(value)}}; };
  json command = {"/bin/a", {"a", "b c"}, {"ignore-failure", "privileged"}, 0, 0, 0, 0, 0, 0, 0};
  json properties = {{"Id", property("web.service")},
                     {"LoadState", property("loaded")},
                     {"ActiveState", property("active")},
                     {"Type", property("notify")},
                     {"ExecStartEx", property({command})},
                     {"Environment", property({"A=1", "B=x=y", "odd"})},
                     {"EnvironmentFiles",
                      property(json::array({json::array({"/etc/a", true}), json::array({"/etc/b", false})}))},
                     {"TriggeredBy", property({"web.socket", "web.path"})},
                     {"RuntimeDirectory", property({"web"})},
                     {"RuntimeDirectoryMode", property(0750)},
                     {"TimeoutStartUSec", property(1500500)},
                     {"TimeoutStopUSec", property(18446744073709551615U)}};
  auto unit = read_unit(properties);
  REQUIRE(unit);
  CHECK(unit->active);
  REQUIRE(unit->start.size() == 1);
  CHECK(unit->start[0].words == std::vector<std::string>{"/bin/a", "b c"});
  CHECK((unit->start[0].may_fail && unit->start[0].as_root && unit->start[0].expands));
  CHECK(unit->environment == variables{{"A", "1"}, {"B", "x=y"}});
  CHECK(unit->environment_files == std::vector<std::string>{"-/etc/a", "/etc/b"});
  CHECK(unit->sockets == std::vector<std::string>{"web.socket"});
  REQUIRE(unit->directories.size() == 1);
  CHECK((unit->directories[0].path == "/run/web" && unit->directories[0].mode == 0750));
  CHECK(unit->start_timeout == duration(1501));
  CHECK_FALSE(unit->stop_timeout);
  properties["LoadState"] = property("not-found");
  CHECK(read_unit(properties).error().message() == "systemd knows no such unit: it is not-found");
  CHECK_FALSE(read_unit(json("text")));
}

TEST_CASE("a service in the background comes to the foreground, with its sockets by its recipe", "[wrap]") {
  auto w = wrap(nginx(), {});
  REQUIRE(refusals(w) == "");
  auto read = configured(w);
  CHECK(read.service.name == "nginx");
  CHECK(read.service.command == command_line{"/usr/sbin/nginx", "-g", "daemon off; master_process on;"});
  CHECK(read.service.environment == variables{{"NGINX", "{fd:http};{fd:http-2};{fd:https};"}});
  REQUIRE(read.listeners.size() == 3);
  CHECK(read.listeners[1].options.v6only);
  CHECK(read.listeners[1].options.non_blocking);
  CHECK(read.service.ready.when == readiness::exec);
  CHECK(read.service.drain.signal == SIGQUIT);
  CHECK(read.service.drain.timeout == std::chrono::minutes(10));
  REQUIRE(read.hooks.size() == 1);
  CHECK(read.hooks[0].command == command_line{"/usr/bin/env", "--unset=NGINX", "/usr/sbin/nginx", "-t"});
  CHECK(has_line(w, "PIDFile="));
  for (auto const* name : {"PIDFile", "ExecStop"}) CHECK(about(w, name).what == fate::dropped);
  for (auto const* name : {"Type", "ExecReload", "KillMode"}) CHECK(about(w, name).what == fate::changed);
}

TEST_CASE("each recipe changes the command so that it stays and takes its sockets", "[wrap]") {
  auto [words, made] = GENERATE(table<command_line, command_line>({
      {{"/usr/sbin/nginx"}, {"/usr/sbin/nginx", "-g", "daemon off;"}},
      {{"/usr/sbin/nginx", "-g", "user www;"}, {"/usr/sbin/nginx", "-g", "daemon off; user www;"}},
      {{"/usr/sbin/nginx", "-g", "daemon off;"}, {"/usr/sbin/nginx", "-g", "daemon off;"}},
      {{"/usr/sbin/haproxy", "-D", "-f", "x"}, {"/usr/sbin/haproxy", "-Ws", "-f", "x"}},
      {{"/usr/sbin/haproxy", "-Ws", "-f", "x"}, {"/usr/sbin/haproxy", "-Ws", "-f", "x"}},
      {{"/srv/venv/bin/gunicorn", "--daemon", "a:b"}, {"/srv/venv/bin/gunicorn", "a:b"}},
      {{"/usr/bin/python3", "-m", "uvicorn", "--host", "::", "--port=80", "a:b"},
       {"/usr/bin/python3", "-m", "uvicorn", "a:b", "--fd", "{fd:tcp-8000}"}},
      {{"/usr/bin/python3.11", "-I", "/usr/bin/gunicorn", "a:b"},
       {"/usr/bin/python3.11", "-I", "/usr/bin/gunicorn", "a:b"}},
  }));
  auto of = plain();
  of.unit.start = {run(words)};
  auto w = wrap(of, {});
  CHECK(refusals(w) == "");
  CHECK(configured(w).service.command == made);
}

TEST_CASE("what a unit says about a service reaches its configuration", "[wrap]") {
  auto of = plain({{"User", "app"},
                   {"Group", "web"},
                   {"AmbientCapabilities", "CAP_NET_BIND_SERVICE"},
                   {"WorkingDirectory", "/srv/app"},
                   {"KillSignal", "SIGINT"},
                   {"RestartSec", "2"},
                   {"Restart", "on-failure"},
                   {"LimitNOFILE", "65536"},
                   {"MemoryMax", "1G"}});
  of.unit.user = "app";
  of.unit.group = "web";
  of.unit.working_directory = "/srv/app";
  of.unit.environment = {{"A", "1"}, {"B", "a \"quoted\" \\ \n word"}, {"A", "2"}, {"LISTEN_PID", "1"}};
  of.unit.environment_files = {"-/etc/default/app"};
  of.unit.pass_environment = {"TZ"};
  of.unit.kill_signal = SIGINT;
  of.unit.restart_pause = std::chrono::seconds(2);
  of.unit.start_timeout.reset();
  of.unit.watchdog = std::chrono::seconds(7);
  auto w = wrap(of, {});
  auto read = configured(w);
  CHECK(read.service.user == "app");
  CHECK(read.service.group == "web");
  CHECK(read.service.ambient_capabilities == std::vector<std::string>{"CAP_NET_BIND_SERVICE"});
  CHECK(read.service.working_directory == "/srv/app");
  CHECK(read.service.environment == variables{{"A", "2"}, {"B", "a \"quoted\" \\ \n word"}});
  CHECK(read.service.environment_files == of.unit.environment_files);
  CHECK(read.service.drain.signal == SIGINT);
  CHECK(read.service.ready.timeout == std::chrono::hours(1));
  CHECK(read.service.watchdog == std::chrono::seconds(7));
  CHECK(read.restart.backoff_min == std::chrono::seconds(2));
  for (auto const* line :
       {"User=", "Group=", "AmbientCapabilities=", "WorkingDirectory=", "KillSignal=SIGTERM"})
    CHECK(has_line(w, line));
  CHECK(about(w, "LimitNOFILE").what == fate::kept);
  CHECK_THAT(about(w, "MemoryMax").why, Catch::Contains("all generations together"));
  CHECK(about(w, "Restart").what == fate::changed);
}

TEST_CASE("every line that somebody wrote is answered", "[wrap]") {
  auto of = nginx();
  of.unit.written.push_back({"FutureDirective", "yes"});
  of.unit.written.push_back({"ProtectSystem", "full"});
  auto w = wrap(of, {});
  for (auto const& line : of.unit.written) CHECK(about(w, line.name).why != "");
}

TEST_CASE("commands before the start become one hook", "[wrap]") {
  auto of = plain({{"ExecStartPre", "…"}});
  of.unit.user = "app";
  of.unit.environment = {{"WHAT", "it's"}};
  of.unit.start_pre = {run({"/bin/a", "${WHAT}"}), run({"/bin/b"})};
  of.unit.start_pre[1].may_fail = true;
  SECTION("of the service's user") {
    auto read = configured(wrap(of, {}));
    REQUIRE(read.hooks.size() == 1);
    CHECK(read.hooks[0].command ==
          command_line{"/bin/sh", "-c", "'/bin/a' 'it'\\''s' && { '/bin/b' || true; }"});
    CHECK(read.hooks[0].user == "");
  }
  SECTION("of root, when all of them are") {
    of.unit.start_pre[0].as_root = of.unit.start_pre[1].as_root = true;
    auto read = configured(wrap(of, {}));
    REQUIRE(read.hooks.size() == 1);
    CHECK(read.hooks[0].user == "root");
  }
  SECTION("but not of root when one of them is the user's") {
    of.unit.start_pre[1].as_root = true;
    auto w = wrap(of, {});
    CHECK_THAT(refusals(w), Catch::Contains("ExecStartPre: ") && Catch::Contains("runuser -u app"));
    CHECK(w.configuration.hooks.empty());
  }
  SECTION("and root's own are root's in any case") {
    of.unit.user = "root";
    of.unit.start_pre[1].as_root = true;
    CHECK(refusals(wrap(of, {})) == "");
  }
}

TEST_CASE("what an environment file said makes the configuration a secret", "[wrap]") {
  auto [word, secret] = GENERATE(table<char const*, bool>({{"$TOKEN", true}, {"$OTHER", false}}));
  auto of = plain();
  of.from_files = {{"TOKEN", "x"}};
  of.unit.environment = {{"OTHER", "y"}};
  of.unit.start[0].words.emplace_back(word);
  CHECK(wrap(of, {}).secret == secret);
}

TEST_CASE("commands around the start are root's where the unit says so", "[wrap]") {
  auto [last, user] =
      GENERATE(table<char const*, std::string>({{"Yes", "root"}, {"perhaps", "root"}, {"no", ""}}));
  auto of =
      plain({{"ExecStartPre", "/bin/a"}, {"PermissionsStartOnly", "true"}, {"PermissionsStartOnly", last}});
  of.unit.user = "app";
  of.unit.start_pre = {run({"/bin/a"})};
  auto read = configured(wrap(of, {}));
  REQUIRE(read.hooks.size() == 1);
  CHECK(read.hooks[0].user == user);
}

TEST_CASE("links beside a directory are missed", "[wrap]") {
  auto of = plain({{"StateDirectory", "app:old"}});
  of.unit.user = "app";
  auto is_about_it = [](std::string const& note) { return note.starts_with("StateDirectory=app:old: "); };
  CHECK(std::ranges::any_of(wrap(of, {}).notes, is_about_it));
}

TEST_CASE("directories of another user than root are made for it", "[wrap]") {
  auto of = plain({{"User", "app"}, {"RuntimeDirectory", "app"}, {"StateDirectory", "app app/cache"}});
  of.unit.directories = {{"/run/app", "RUNTIME_DIRECTORY", 0750},
                         {"/var/lib/app", "STATE_DIRECTORY", 0755},
                         {"/var/lib/app/cache", "STATE_DIRECTORY", 0755},
                         {"/var/lib/a b%", "STATE_DIRECTORY", 0755}};
  of.login_group = "1000";
  SECTION("root keeps them") {
    auto w = wrap(of, {});
    CHECK(about(w, "RuntimeDirectory").what == fate::kept);
    CHECK_FALSE(has_line(w, "RuntimeDirectory="));
  }
  SECTION("app gets them, and leads nobody elsewhere by a link") {
    of.unit.user = "app";
    auto w = wrap(of, {});
    CHECK(has_line(w, "RuntimeDirectory="));
    CHECK(has_line(
        w,
        "ExecStartPre=+/bin/sh -c \"printf '%%s\\\\n' \\\"$$@\\\" | systemd-tmpfiles --create -\" sh "
        "\"d /run/app 0750 app 1000\" \"d /var/lib/app 0755 app 1000\" "
        "\"d /var/lib/app/cache 0755 app 1000\" "
        "\"d \\\"/var/lib/a b%%%%\\\" 0755 app 1000\""));
    for (auto const* path : {"-/run/app", "-/var/lib/app", "\"-/var/lib/a b%%\""})
      CHECK(has_line(w, std::string("ReadWritePaths=") + path));
    CHECK_FALSE(has_line(w, "ReadWritePaths=-/var/lib/app/cache"));
    CHECK(configured(w).service.environment ==
          variables{{"RUNTIME_DIRECTORY", "/run/app"},
                    {"STATE_DIRECTORY", "/var/lib/app:/var/lib/app/cache:/var/lib/a b%"}});
    of.unit.group = "web";
    w = wrap(of, {});
    CHECK(std::ranges::any_of(w.lines, [](auto const& l) { return l.find(" app web\"") != l.npos; }));
  }
}

TEST_CASE("words for a unit are read again as they were", "[wrap]") {
  auto [word, of_path, of_command] = GENERATE(table<std::string, std::string, std::string>({
      {"/usr/bin/app-1.2_x", "/usr/bin/app-1.2_x", "/usr/bin/app-1.2_x"},
      {"", R"("")", R"("")"},
      {"with blank", R"("with blank")", R"("with blank")"},
      {"100%", "100%%", "100%%"},
      {"$HOME", "$HOME", "$$HOME"},
      {"a\"b'c\\d", R"("a\"b'c\\d")", R"("a\"b'c\\d")"},
      {"a;b", R"("a;b")", R"("a;b")"},
      {"line\nline", R"("line\x0aline")", R"("line\x0aline")"},
      {"größe", R"("größe")", R"("größe")"},
  }));
  CHECK(unit_word(word) == of_path);
  CHECK(exec_line({word}) == of_command);
  CHECK(exec_line({word, "b"}) == of_command + " b");
}

TEST_CASE("a sandbox is opened only as far as handoffd needs it", "[wrap]") {
  auto of = plain({{"CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"},
                   {"SystemCallFilter", "@system-service"},
                   {"RestrictAddressFamilies", "AF_INET"},
                   {"ProcSubset", "pid"},
                   {"NoNewPrivileges", "yes"}});
  of.unit.bounding_set = std::uint64_t{1} << 10;
  of.unit.user = "app";
  auto w = wrap(of, {});
  CHECK(has_line(
      w, "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_FOWNER CAP_BPF CAP_PERFMON"));
  CHECK(has_line(w, "SystemCallFilter=@system-service bpf"));
  CHECK(has_line(w, "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"));
  CHECK(about(w, "NoNewPrivileges").what == fate::kept);
  CHECK(has_line(w, "ProcSubset=all"));
  CHECK_THAT(about(w, "ProcSubset").why, Catch::Contains("/proc/net"));
  auto free = plain({{"ProcSubset", "pid"}, {"ProcSubset", "all"}});
  CHECK(about(wrap(free, {}), "ProcSubset").what == fate::kept);
}

TEST_CASE("a socket unit keeps its socket", "[wrap]") {
  auto of = plain();
  of.unit.start = {run({"/usr/bin/unheard-of"})};
  of.socket_listeners = {{"app.socket", systemd_address{}, socket_type::stream, {}}};
  auto w = wrap(of, {});
  CHECK(refusals(w) == "");
  CHECK(configured(w).listeners == of.socket_listeners);
}

TEST_CASE("what cannot be wrapped is refused, with what can be done", "[wrap]") {
  struct {
    char const* says;
    surroundings of;
    std::string why;
  } cases[] = {
      {"a dynamic user", plain({{"DynamicUser", "yes"}}), "give the service a user with a name"},
      {"a root of its own", plain({{"RootDirectory", "/srv/root"}}), "handoffd would have to be in there"},
      {"a map of users", plain({{"PrivateUsers", "yes"}}), "root may become nobody else"},
      {"one process for each connection", plain({{"StandardInput", "socket"}}), "no listener to hand over"},
      {"no address", plain(), "name them with --listen"},
      {"an unknown service", plain(), "--listen-fds"},
      {"an unknown one in the background", plain(), "--argument"},
      {"one that ends", plain(), "it does not stay"},
      {"nothing to start", plain(), "only one command"},
      {"one of ours", plain({{"ExecStart", "/usr/sbin/handoffd x"}}), "runs under handoffd already"},
      {"two sockets where one fits", plain(), "choose it with --listen"},
      {"files by a pattern", plain(), "not by pattern"},
  };
  cases[4].of.listeners.clear();
  cases[5].of.unit.start = {run({"/usr/bin/unheard-of"})};
  cases[6].of.unit = cases[5].of.unit;
  cases[6].of.unit.type = "forking";
  cases[7].of.unit.type = "oneshot";
  cases[8].of.unit.start.clear();
  cases[9].of.unit.start = {run({"/usr/sbin/handoffd", "x"})};
  cases[10].of.unit.start = {run({"/usr/bin/uvicorn", "a:b"})};
  cases[10].of.listeners.push_back(tcp_at("::1", 9000));
  cases[11].of.unit.environment_files = {"/etc/app/*.env"};
  for (auto const& c : cases) {
    CAPTURE(c.says);
    auto w = wrap(c.of, {});
    CHECK_FALSE(w.possible());
    CHECK_THAT(refusals(w), Catch::Contains(c.why));
  }
  CHECK(wrap(plain({{"DynamicUser", "no"}, {"PrivateUsers", "yes"}, {"PrivateUsers", ""}}), {}).possible());
}

TEST_CASE("who knows better says so", "[wrap]") {
  auto of = plain();
  of.unit.start = {run({"/usr/bin/unheard-of", "--daemonless=${NO}"})};
  of.unit.type = "forking";
  of.listeners.clear();
  wish wanted{.name = "mine", .listeners = {tcp_at("127.0.0.1", 81)}, .arguments = {"--fd", "{fd:tcp-81}"}};
  auto read = configured(wrap(of, wanted));
  CHECK(read.service.name == "mine");
  CHECK(read.service.command == command_line{"/usr/bin/unheard-of", "--daemonless=", "--fd", "{fd:tcp-81}"});
  wanted.arguments = {"--foreground"};
  CHECK_FALSE(wrap(of, wanted).possible());
  wanted.listen_fds = true;
  CHECK(wrap(of, wanted).possible());
}

TEST_CASE("a service that is told by its own configuration is told first", "[wrap]") {
  auto of = plain();
  of.unit.start = {run({"/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy.cfg"})};
  of.listeners.push_back({"", unix_address{"/run/haproxy/admin.sock"}, socket_type::stream, {}});
  std::string text = "bind :8000";
  of.file = [&](std::string const&) { return std::optional(text); };
  auto w = wrap(of, {});
  CHECK_THAT(refusals(w), Catch::Contains("bind fd@${TCP_8000_FD}") && Catch::Contains("for 0.0.0.0:8000"));
  text = "bind fd@${TCP_8000_FD}";
  w = wrap(of, {});
  CHECK(refusals(w) == "");
  auto read = configured(w);
  CHECK(read.listeners.size() == 1);  // the other one is haproxy's own
  CHECK(read.service.environment == variables{{"TCP_8000_FD", "{fd:tcp-8000}"}});
}

TEST_CASE("a drop-in tells what belongs to it", "[wrap]") {
  wrapped owned{
      "/etc/handoff/nginx.toml", digest_of("text"), {"/etc/handoff", "/etc/systemd/system/nginx.service.d"}};
  auto text =
      drop_in_text(wrap(nginx(), {}), {"/sbin/handoffd", "/bin/handoff", "/lib/handoff-sweep"}, owned);
  CHECK(read_drop_in(text) == owned);
  CHECK_THAT(text, Catch::Contains("\nExecStart=\nExecStart=/sbin/handoffd /etc/handoff/nginx.toml\n"));
  CHECK_FALSE(read_drop_in("# " + text));
  CHECK_FALSE(read_drop_in(""));
  CHECK(digest_of("text") != digest_of("texts"));
  auto odd = drop_in_text(wrap(nginx(), {.name = "50%$"}),
                          {"/my sbin/handoffd", "/bin/handoff", "/lib/handoff-sweep"},
                          {"/etc/handoff/50%$.toml", "", {}});
  CHECK_THAT(odd, Catch::Contains("\nExecStart=\"/my sbin/handoffd\" /etc/handoff/50%%$$.toml\n") &&
                      Catch::Contains(" --until=serving 50%%$$\n"));
}

TEST_CASE("a drop-in says what the template unit says", "[wrap]") {
  auto text = drop_in_text(wrap(nginx(), {}), {"/sbin/handoffd", "/bin/handoff", "/lib/handoff-sweep"}, {});
  auto unit = content("systemd/handoff@.service.in");
  auto sandbox = unit.find("# Services inherit what stands below");  // the wrapped unit has its own
  REQUIRE(sandbox != std::string::npos);
  for (auto const& line : directives_of(unit.substr(0, sandbox))) {
    // Paths, and a place for a log that nobody asked for.
    bool differs = line.name.starts_with("Exec") || line.name == "LogsDirectory";
    CAPTURE(line.name);
    CHECK((differs || text.find("\n" + line.name + "=" + line.value + "\n") != text.npos));
  }
}
