// What handoff-probe is asked.
#include <catch2/catch.hpp>
#include <handoffd/probe_command.hpp>

using namespace handoff;
using namespace std::chrono_literals;

TEST_CASE("a probe is asked for what is configured and no more") {
  CHECK(probe_command({.kind = probe_kind::tcp, .timeout = 500ms}, {"::1", 80}) ==
        command_line{"handoff-probe", "tcp", "--socket=3", "--connect=[::1]:80", "--timeout=500ms"});
  CHECK(probe_command({}, {"127.0.0.1", 80}) == command_line{"handoff-probe", "http", "--socket=3",
                                                             "--connect=127.0.0.1:80", "--timeout=2s",
                                                             "--path=/", "--status=200-399"});
  CHECK(probe_command({.path = "/a",
                       .status = {200, 200},
                       .body = "--ok",
                       .headers = {"A: b", "C: d"},
                       .host = "www",
                       .tls = true,
                       .verify = false},
                      {"127.0.0.1", 80}) ==
        command_line{"handoff-probe", "http", "--socket=3", "--connect=127.0.0.1:80", "--timeout=2s",
                     "--path=/a", "--status=200", "--body=--ok", "--header=A: b", "--header=C: d",
                     "--host=www", "--tls", "--insecure"});
  CHECK(probe_command({.kind = probe_kind::page,
                       .path = "/metrics",
                       .status = {200, 200},
                       .page = {.failures = "r{code=~\"5..\"}", .all = "r"}},
                      {"127.0.0.1", 80}) ==
        command_line{"handoff-probe", "metrics", "--socket=3", "--connect=127.0.0.1:80", "--timeout=2s",
                     "--path=/metrics", "--status=200", "--failures=r{code=~\"5..\"}", "--all=r"});
}
