#include <catch2/catch.hpp>
#include <cli/outdated.hpp>

using namespace handoff;
using namespace handoff::cli;

namespace {

seen_code library(bool deleted = false) {
  return {.mapped = {.begin = 0x1000,
                     .end = 0x2000,
                     .executable = true,
                     .file = {0xfe, 0, 12},
                     .path = "/usr/lib/libfoo.so.1.2",
                     .deleted = deleted},
          .build_id = {},
          .is_program = false,
          .on_disk = {}};
}

seen_code with(seen_code seen, std::string build_id, seen_code::other on_disk) {
  seen.build_id = std::move(build_id);
  seen.on_disk = std::move(on_disk);
  return seen;
}

seen_code as_program(seen_code seen) {
  seen.is_program = true;
  return seen;
}

seen_code at(seen_code seen, std::string path) {
  seen.mapped.path = std::move(path);
  return seen;
}

json generation(int number, char const* role, std::vector<int> pids, char const* state = "same") {
  json instances = json::array();
  int index = 0;
  for (int pid : pids) {
    instances.push_back({{"id", std::to_string(number) + "." + std::to_string(++index)},
                         {"pid", pid == 0 ? json(nullptr) : json(pid)}});
  }
  return {{"number", number},
          {"role", role},
          {"executable", "/usr/bin/web"},
          {"executable_state", state},
          {"instances", instances}};
}

seen_service of(char const* state = "same") {
  seen_service seen;
  seen.release = {.generation = 1, .executable = "/usr/bin/web", .executable_state = state, .instances = {}};
  seen.executable_is_mapped = true;
  return seen;
}

std::optional<std::string> script_of(std::string_view executable, std::vector<std::string> const& arguments) {
  return find_script(executable, arguments, [](std::string const& name) { return name.ends_with(".py"); });
}

}  // namespace

TEST_CASE("a mapped file is outdated when its path names other code") {
  auto [says, seen, why] = GENERATE(table<char const*, seen_code, std::string>({
      {"another file", with(library(), "", {34, ""}), "/usr/lib/libfoo.so.1.2 replaced: inode 12 -> 34"},
      {"another build", with(library(true), "aa", {34, "bb"}),
       "/usr/lib/libfoo.so.1.2 replaced: inode 12 -> 34"},
      {"the same build, installed again", with(library(true), "aa", {34, "aa"}), ""},
      {"a build-id on one side only", with(library(true), "aa", {34, ""}),
       "/usr/lib/libfoo.so.1.2 replaced: inode 12 -> 34"},
      {"deleted, and nothing in its place", library(true), "/usr/lib/libfoo.so.1.2 is gone"},
      {"not deleted, but not to be seen from here", library(), ""},
      {"what a program wrote for itself", at(library(true), "/tmp/jit-77"), ""},
      {"a program below /tmp", as_program(at(library(true), "/tmp/web")), "/tmp/web is gone"},
      {"a file that never had a name", at(library(true), "/home/web/#4711"), ""},
      {"what libffi writes", at(library(true), "/home/web/ffiJx3Aa"), ""},
      {"a library below /tmp that was replaced", with(at(library(true), "/tmp/x.so"), "", {34, ""}),
       "/tmp/x.so replaced: inode 12 -> 34"},
      {"a name cannot play tricks", at(library(true), "/usr/lib/\x1b[2Jx\n"), "/usr/lib/?[2Jx  is gone"},
  }));
  CAPTURE(says);
  CHECK(why_outdated(seen).value_or("") == why);
}

TEST_CASE("the script of an interpreter is its first argument that is a file") {
  using words = std::vector<std::string>;
  auto [says, executable, arguments, script] = GENERATE(table<char const*, std::string, words, std::string>({
      {"plain", "/usr/bin/python3.11", {"python3", "app.py"}, "app.py"},
      {"behind options and their values",
       "/usr/bin/python3",
       {"python3", "-u", "-W", "ignore", "/srv/app.py", "b.py"},
       "/srv/app.py"},
      {"a module", "/usr/bin/python3", {"python3", "-m", "app", "x.py"}, ""},
      {"a program in words", "/usr/bin/dash", {"sh", "-c", "exec x.py"}, ""},
      {"no interpreter", "/usr/bin/web", {"web", "app.py"}, ""},
      {"no argument", "/usr/bin/perl", {"perl"}, ""},
      {"written over by the program", "/usr/bin/python3", {"gunicorn: master [app.py:x]", ""}, ""},
      {"no command line", "/usr/bin/node", {}, ""},
  }));
  CAPTURE(says);
  CHECK(script_of(executable, arguments).value_or("") == script);
}

TEST_CASE("what will serve is looked at") {
  json status{{"generations", {generation(6, "draining", {60}), generation(7, "live", {70, 0, 71})}}};
  auto release = release_to_look_at(status);
  REQUIRE(release);
  CHECK(release->generation == 7);
  REQUIRE(release->instances.size() == 2);
  CHECK(release->instances[1].id == "7.3");
  CHECK(release->instances[1].pid == 71);

  status["generations"].push_back(generation(8, "candidate", {0}));
  CHECK(release_to_look_at(status)->generation == 7);  // not launched yet
  status["generations"].push_back(generation(8, "candidate", {80}));
  CHECK(release_to_look_at(status)->generation == 8);
  CHECK_FALSE(release_to_look_at(json::object()));
  CHECK_FALSE(release_to_look_at(json{{"generations", {generation(8, "candidate", {})}}}));
}

TEST_CASE("pids that cannot be are none") {
  json live = generation(7, "live", {});
  for (json pid : {json(0), json(1), json(-1), json(1LL << 40), json("7"), json(nullptr)})
    live["instances"].push_back({{"id", "7.1"}, {"pid", pid}});
  CHECK(release_to_look_at(json{{"generations", {live}}})->instances.empty());
}

TEST_CASE("a service is judged by its files, its pin, its link and its operator") {
  auto changed = [](seen_service seen, auto change) {
    change(seen);
    return seen;
  };
  auto outdated = [&](seen_service& s) { s.reasons = {{"libfoo replaced", 100}}; };
  auto tried = [&](seen_service& s) {
    outdated(s);
    s.configuration_changed = 50;
    s.program_changed = 100;
    s.last_failure = failed_try{.rollout = 3, .reason = "exited 3", .started = 150};
  };
  auto [says, seen, is, why] = GENERATE_COPY(table<char const*, seen_service, freshness, std::string>({
      {"nothing has changed", of(), freshness::current, ""},
      {"nothing runs", seen_service{}, freshness::current, ""},
      {"a library", changed(of(), outdated), freshness::outdated, "libfoo replaced"},
      {"of a replaced program its mapping tells", of("replaced"), freshness::current, ""},
      {"a replaced script", changed(of("replaced"), [](auto& s) { s.executable_is_mapped = false; }),
       freshness::outdated, "/usr/bin/web replaced"},
      {"written to in place", of("overwritten"), freshness::outdated, "/usr/bin/web was written to in place"},
      {"a link leads elsewhere",
       changed(of(), [](auto& s) { s.configured = "/srv/current/web", s.resolved = "/srv/42/web"; }),
       freshness::outdated, "/srv/current/web leads to /srv/42/web, and /usr/bin/web runs"},
      {"a link leads there",
       changed(of(), [](auto& s) { s.configured = "/bin/web", s.resolved = "/usr/bin/web"; }),
       freshness::current, ""},
      {"another command is no link",
       changed(of(), [](auto& s) { s.configured = s.resolved = "/usr/bin/other"; }), freshness::current, ""},
      {"something could not be seen",
       changed(of(), [](auto& s) { s.out_of_sight = {"maps: not permitted"}; }), freshness::unknown,
       "maps: not permitted"},
      {"what was seen suffices", changed(of(), [&](auto& s) { outdated(s), s.out_of_sight = {"maps"}; }),
       freshness::outdated, "libfoo replaced"},
      {"there is nothing to start",
       changed(of(), [&](auto& s) { outdated(s), s.configured = "/usr/bin/web"; }), freshness::left_alone,
       "/usr/bin/web names nothing that could be started"},
      {"the operator went back", changed(of(), [&](auto& s) { outdated(s), s.went_back = true; }),
       freshness::left_alone, "it was rolled back by hand; an upgrade by hand ends that"},
      {"it was tried, and nothing has changed", changed(of(), tried), freshness::left_alone,
       "rollout 3 tried it: exited 3; an upgrade by hand tries it again"},
      {"the configuration has changed since",
       changed(of(), [&](auto& s) { tried(s), s.configuration_changed = 151; }), freshness::outdated,
       "libfoo replaced"},
      {"the program has changed since", changed(of(), [&](auto& s) { tried(s), s.program_changed = 151; }),
       freshness::outdated, "libfoo replaced"},
      {"a library has changed since", changed(of(), [&](auto& s) { tried(s), s.reasons[0].since = 151; }),
       freshness::outdated, "libfoo replaced"},
      {"nobody knows when a library changed",
       changed(of(), [&](auto& s) { tried(s), s.reasons[0].since = {}; }), freshness::outdated,
       "libfoo replaced"},
      {"nobody knows the configuration",
       changed(of(), [&](auto& s) { tried(s), s.configuration_changed = {}; }), freshness::outdated,
       "libfoo replaced"},
      {"who went back to what is on disk is current", changed(of(), [](auto& s) { s.went_back = true; }),
       freshness::current, ""},
  }));
  CAPTURE(says);
  finding found = judge(seen);
  CHECK(found.is == is);
  CHECK((found.why.empty() ? "" : found.why.front()) == why);
}

TEST_CASE("reasons are bounded") {
  seen_service seen = of();
  seen.reasons.assign(1000, reason{"libfoo replaced", 100});
  finding found = judge(seen);
  CHECK(found.why.size() == 21);
  CHECK(found.why.back() == "and 980 more");
}

TEST_CASE("only a rollback that was promoted, and is the last, counts as going back") {
  auto last = [](char const* cause, char const* verdict) {
    return json{{"last", {{"cause", cause}, {"verdict", verdict}}}};
  };
  CHECK(went_back(last("rollback", "promoted")));
  CHECK_FALSE(went_back(last("rollback", "rolled_back")));
  CHECK_FALSE(went_back(last("HUP", "promoted")));
  CHECK_FALSE(went_back(json::object()));
}

TEST_CASE("only a last rollout that failed was a try that failed") {
  json status{{"last",
               {{"rollout", 3},
                {"verdict", "rolled_back"},
                {"reason", "exited 3\nbefore ready"},
                {"started", "1970-01-02T00:00:07Z"}}}};
  auto tried = last_failure(status);
  REQUIRE(tried);
  CHECK(tried->rollout == 3);
  CHECK(tried->reason == "exited 3 before ready");
  CHECK(tried->started == 86407);
  status["last"]["started"] = "yesterday";
  CHECK_FALSE(last_failure(status));
  status["last"]["started"] = "1970-01-02T00:00:07Z";
  status["last"]["verdict"] = "promoted";
  CHECK_FALSE(last_failure(status));
  CHECK_FALSE(last_failure(json::object()));
}
