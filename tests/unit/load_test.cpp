#include <load/histogram.hpp>
#include <load/plan.hpp>
#include <load/reply_reader.hpp>
#include <load/tally.hpp>
#include <load/window_marks.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using namespace handoff::load;

TEST_CASE("the histogram's quantiles are right to within one percent") {
  histogram h;
  CHECK(h.quantile(0.5) == 0);
  for (std::int64_t value = 1; value <= 100000; ++value) h.record(value * 1000);
  for (double fraction : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    double exact = fraction * 100000 * 1000;
    CAPTURE(fraction);
    CHECK(static_cast<double>(h.quantile(fraction)) >= exact);
    CHECK(static_cast<double>(h.quantile(fraction)) <= exact * 1.01);
  }
  CHECK(h.max() == 100000 * 1000);
  CHECK(h.quantile(1.0) == h.max());
}

TEST_CASE("the histogram holds every value, small, huge and negative") {
  auto value =
      GENERATE(as<std::int64_t>(), 0, 1, 127, 128, 255, 256, 257, 511, 512, 1 << 20, histogram::value_max);
  histogram h;
  h.record(value);
  CHECK(h.quantile(0.5) == value);
  histogram beyond;
  beyond.record(INT64_MAX);
  beyond.record(-5);
  CHECK(beyond.max() == histogram::value_max);
  CHECK(beyond.quantile(0.5) == 0);
  h.merge(beyond);
  CHECK(h.count() == 3);
}

TEST_CASE("a reply is verified to its last byte") {
  using p = reply_reader::progress;
  auto [says, bytes, outcome, body] = GENERATE(table<char const*, std::string, p, std::string>({
      {"a body of the promised length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", p::complete, "ok"},
      {"an empty body", "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", p::complete, ""},
      {"a status without a body", "HTTP/1.1 204 No Content\r\n\r\n", p::complete, ""},
      {"a short body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", p::more, "ok"},
      {"too long a body", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", p::malformed, "o"},
      {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
       p::complete, "ok"},
      {"chunks without an end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", p::more,
       "ok"},
      {"a chunk without its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n",
       p::malformed, ""},
      {"a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n",
       p::malformed, "o"},
      {"a body until the end", "HTTP/1.1 200 OK\r\n\r\nok", p::more, "ok"},
      {"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", p::malformed, ""},
      {"a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok", p::malformed, ""},
      {"a head without end", "HTTP/1.1 200 OK\r\nX: " + std::string(reply_reader::head_max, 'x'),
       p::malformed, ""},
      {"a head cut short", "HTTP/1.1 200 OK\r\nContent-Le", p::more, ""},
  }));
  CAPTURE(says);
  reply_reader whole, bytewise;
  whole.start(true);
  CHECK(whole.take(bytes) == outcome);
  CHECK(whole.body() == body);

  bytewise.start(true);
  p last = p::more;
  for (char c : bytes) {
    if (last != p::malformed) last = bytewise.take(std::string_view(&c, 1));
  }
  CHECK(last == outcome);
  CHECK(bytewise.body() == body);
}

TEST_CASE("only a reply without a length is complete when the connection ends") {
  reply_reader r;
  r.start(false);
  CHECK(r.untouched());
  CHECK_FALSE(r.complete_at_end());
  r.take("HTTP/1.0 200 OK\r\nX-Handoff-Generation:  7 \r\n\r\nbody");
  CHECK(r.complete_at_end());
  CHECK(r.header("x-handoff-generation") == "7");
  CHECK(r.header("absent").empty());
  CHECK(r.server_closes());
  r.start(false);
  r.take("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody");
  CHECK_FALSE(r.complete_at_end());
}

TEST_CASE("targets are told by their form") {
  CHECK(parse_target("127.0.0.1:80")->how == transport::tcp);
  CHECK(parse_target("[::1]:80")->how == transport::tcp);
  CHECK(parse_target("udp://127.0.0.1:53")->how == transport::udp);
  CHECK(parse_target("unix:/run/x.sock")->how == transport::unix_stream);
  CHECK(parse_target("unix:@x")->how == transport::unix_stream);
  for (char const* bad :
       {"", "80", "unix:", "unix:x", "host.invalid:80", "[::1]", "127.0.0.1:x", "127.0.0.1:65536"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_target(bad));
  }
}

TEST_CASE("a request belongs to the window that was open when it was planned") {
  window_marks marks("steady");
  std::vector<window_marks::mark> copy;
  REQUIRE(marks.set("upgrade", 100));
  REQUIRE(marks.set("steady", 200));
  marks.refresh(copy);
  CHECK(window_marks::window_at(copy, 99) == 0);
  CHECK(window_marks::window_at(copy, 100) == 1);
  CHECK(window_marks::window_at(copy, 200) == 0);
  for (std::size_t i = 2; i < window_marks::names_max; ++i) REQUIRE(marks.set(std::to_string(i), 300));
  CHECK_FALSE(marks.set("one more", 300));
  CHECK(marks.names().size() == window_marks::names_max);
}

TEST_CASE("reports of several threads add up") {
  report a, b;
  CHECK(a.saw("7", 10));
  CHECK_FALSE(a.saw("7", 20));
  b.saw("7", 5);
  b.saw("8", 30);
  b.saw("7", 15, false);
  a.succeeded(0, 1000);
  b.failed(1, {7, failure_kind::reset, "cut"});
  a.failed(0, {9, failure_kind::timeout, "late"});
  a.merge(b);
  CHECK(a.counts.total == 3);
  CHECK(a.counts.failed == 2);
  CHECK(a.counts.by_kind[static_cast<std::size_t>(failure_kind::reset)] == 1);
  CHECK(a.versions.find("7")->second.first_ns == 5);
  CHECK(a.versions.find("7")->second.last_ns == 20);
  CHECK(a.versions.find("7")->second.count == 3);
  CHECK(a.versions.find("7")->second.errors == 1);
  CHECK(a.notes.front().what == "cut");
  CHECK(a.windows[1].failed == 1);
}
