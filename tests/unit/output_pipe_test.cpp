#include "edge_support.hpp"

#include <os/output_pipe.hpp>

#include <poll.h>

using namespace handoff;
using namespace handoff::test;

namespace {

using lines = std::vector<std::string>;

struct capturing {
  std::unique_ptr<loop> events = *loop::create();
  lines got;
  output_pipe::ends ends;

  explicit capturing(uid_t owner = ::geteuid()) {
    auto made =
        output_pipe::create(*events, owner, [this](std::string line) { got.push_back(std::move(line)); });
    REQUIRE(made);
    ends = std::move(*made);
  }
  void write(std::string_view text) const {
    REQUIRE(::write(ends.service_end.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
};

}  // namespace

TEST_CASE("what a service writes comes as printable lines") {
  auto [says, writes, expected] = GENERATE(table<char const*, lines, lines>({
      {"lines", {"one\ntwo\n"}, {"one", "two"}},
      {"a line in pieces", {"on", "e\ntw", "o\n"}, {"one", "two"}},
      {"an empty line is a line", {"\n\nx\n"}, {"", "", "x"}},
      {"a DOS end goes", {"one\r\n"}, {"one"}},
      {"escapes cannot reach a terminal", {"\x1B[2Jhello\a\n"}, {"?[2Jhello?"}},
      {"a line as long as the bound", {std::string(1024, 'x') + "\n"}, {std::string(1024, 'x')}},
      {"a line past the bound is cut once",
       {std::string(5000, 'x'), std::string(5000, 'x') + "\nnext\n"},
       {std::string(1021, 'x') + "...", "next"}},
  }));
  CAPTURE(says);
  capturing c;
  for (auto const& piece : writes) {
    c.write(piece);
    run_what_is_ready(*c.events);
  }
  CHECK(c.got == expected);
}

TEST_CASE("a last line without an end comes when the writers are gone, or when it is drained") {
  capturing c;
  c.write("dying because");
  run_what_is_ready(*c.events);
  CHECK(c.got.empty());
  SECTION("the last writer is gone") { c.ends.service_end.reset(); }
  SECTION("a descendant still holds it") { c.ends.reader->drain_now(); }
  CHECK(run_until(*c.events, [&] { return c.got == lines{"dying because"}; }));
}

TEST_CASE("after the last writer is gone the loop has nothing to do") {
  capturing c;
  c.ends.service_end.reset();
  run_what_is_ready(*c.events);
  int turns = 0;
  auto counting = c.events->before_sleep([&] { ++turns; });
  auto stop = c.events->at(loop::now() + std::chrono::milliseconds(20), [&] { c.events->stop(); });
  c.events->run();
  CHECK(turns < 5);
}

TEST_CASE("the last lines are kept for the verdict") {
  capturing c;
  SECTION("few") {
    c.write("one\ntwo\x1B\nthree");
    c.ends.reader->drain_now();
    CHECK(c.ends.reader->tail(10) == lines{"one", "two?", "three"});
    CHECK(c.ends.reader->tail(2) == lines{"two?", "three"});
    CHECK(c.ends.reader->tail(0).empty());
  }
  SECTION("many: only the last 8 KiB, in whole lines") {
    for (int i = 0; i < 5000; ++i) {
      c.write("line number " + std::to_string(10000 + i) + "\n");
      if (i % 500 == 0) c.ends.reader->drain_now();
    }
    c.ends.reader->drain_now();
    auto tail = c.ends.reader->tail(1000);
    CHECK(tail.back() == "line number 14999");
    CHECK(tail.size() == (output_pipe::kept_for_verdict - 1) / 18);
    CHECK(tail.front() == "line number " + std::to_string(15000 - tail.size()));
  }
  SECTION("nothing") { CHECK(c.ends.reader->tail(10).empty()); }
}

TEST_CASE("a chatty service gets its share of the loop and no more") {
  capturing c;
  unique_fd writer(std::move(c.ends.service_end));
  REQUIRE(::fcntl(writer.get(), F_SETPIPE_SZ, 1 << 20) >= 1 << 18);
  std::string block(1 << 18, '\n');
  ::fcntl(writer.get(), F_SETFL, O_NONBLOCK);
  REQUIRE(::write(writer.get(), block.data(), block.size()) == 1 << 18);
  std::size_t most = 0, before = 0;
  auto look = c.events->before_sleep([&] {
    most = std::max(most, c.got.size() - before);
    before = c.got.size();
  });
  CHECK(run_until(*c.events, [&] { return c.got.size() == block.size(); }));
  CHECK(most == 64 * 1024);
}

TEST_CASE("a service outlives its reader") {
  capturing c;
  c.ends.reader.reset();
  c.write("nobody reads this, and nobody dies of it\n");
  CHECK(is_blocking(c.ends.service_end.get()));
}

TEST_CASE("a successor goes on with the read end") {
  capturing c;
  unique_fd carried(::fcntl(c.ends.reader->fd(), F_DUPFD_CLOEXEC, 0));
  c.ends.reader.reset();
  c.write("one\n");
  lines got;
  auto adopted =
      output_pipe::adopt(*c.events, std::move(carried), [&](std::string line) { got.push_back(line); });
  REQUIRE(adopted);
  CHECK(run_until(*c.events, [&] { return got == lines{"one"}; }));
}

TEST_CASE("a service under another user can open its own standard output by name") {
  if (!has_privileges()) return;
  capturing c(nobody);
  int failed = run_as_nobody([&] {
    std::string name = "/proc/self/fd/" + std::to_string(c.ends.service_end.get());
    unique_fd again(::open(name.c_str(), O_WRONLY));
    return again && ::write(again.get(), "hello\n", 6) == 6 ? 0 : errno;
  });
  CHECK(failed == 0);
  CHECK(run_until(*c.events, [&] { return c.got == lines{"hello"}; }));
}
