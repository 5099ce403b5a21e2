#include "launching.hpp"
#include "listeners.hpp"

#include <os/inheritance.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <sstream>

using namespace handoff;
using Catch::Matchers::Contains;
using handoff::testing::becomes_readable;
using handoff::testing::describe_process;
using handoff::testing::facts;
using handoff::testing::make_pipe;
using handoff::testing::read_facts;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

unique_fd some_file() { return unique_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

std::vector<int> numbers_in(std::string const& text) {
  std::istringstream in(text);
  std::vector<int> all;
  for (int number; in >> number;) all.push_back(number);
  return all;
}

// Above the standard streams: whoever started the test may have left some open.
std::vector<int> left_by_others() {
  std::vector<int> all;
  for (int fd = 3; fd < 1024; ++fd)
    if (is_open(fd) && !test::is_close_on_exec(fd)) all.push_back(fd);
  return all;
}

// What a program finds that this one became, in a child.
facts become_describing(std::vector<std::string> const& arguments,
                        std::vector<std::string> const& environment, std::vector<int> const& passed) {
  auto output = make_pipe();
  unique_fd program(::open(describe_process.c_str(), O_PATH | O_CLOEXEC));
  pid_t child = test::start_child([&] {
    ::dup2(output.write_end.get(), STDOUT_FILENO);
    blocked_signals blocked;
    (void)become(program.get(), arguments, environment, passed);
    return 1;
  });
  output.write_end.reset();
  auto seen = read_facts(output.read_end.get());
  CHECK(test::exit_code_of(child) == 0);
  return seen;
}

}  // namespace

// ---- descriptors by name

TEST_CASE("an inherited descriptor is taken once") {
  auto socket = some_file();
  int const number = socket.get();
  std::vector<named_descriptor> all;
  all.push_back({"a", std::move(socket)});
  all.push_back({"b", some_file()});
  inherited_descriptors from(std::move(all));
  CHECK(from.names() == std::vector<std::string>{"a", "b"});
  CHECK(from.has("a"));
  auto taken = from.take("a");
  CHECK(taken.get() == number);
  CHECK_FALSE(from.has("a"));
  CHECK_FALSE(from.take("a"));
  CHECK_FALSE(from.take("never"));
  CHECK_FALSE(from.take(""));
  CHECK(from.names() == std::vector<std::string>{"b"});
}

TEST_CASE("what nobody takes is closed, and so is what another one of its name replaces") {
  auto before = test::open_descriptors();
  {
    inherited_descriptors from;
    from.add("a", some_file());
    from.add("a", some_file());
    CHECK(test::open_descriptors() == before + 1);
  }
  CHECK(test::open_descriptors() == before);
}

// ---- across exec

TEST_CASE("who becomes another program passes exactly what it names") {
  std::vector<unique_fd> open;
  for (int i = 0; i < 6; ++i) open.push_back(some_file());
  std::vector<int> passed{open[4].get(), open[1].get()};
  auto seen = become_describing({"handoffd", "/etc/web.toml"}, {"A=1", "HANDOFF_SNAPSHOT=7"}, passed);
  passed.insert(passed.end(), {0, 1, 2});
  std::ranges::copy(left_by_others(), std::back_inserter(passed));
  std::ranges::sort(passed);
  CHECK(numbers_in(seen["descriptors"]) == passed);
  CHECK(seen["argument"] == "/etc/web.toml");
  CHECK(seen["env.A"] == "1");
  CHECK(seen["env.HANDOFF_SNAPSHOT"] == "7");
  CHECK(seen["variables"] == "2");
  for (auto const& fd : open) CHECK(test::is_close_on_exec(fd.get()));
}

TEST_CASE("the process stays the same, and its signals stay blocked") {
  auto output = make_pipe();
  unique_fd program(::open(describe_process.c_str(), O_PATH | O_CLOEXEC));
  pid_t child = test::start_child([&] {
    ::dup2(output.write_end.get(), STDOUT_FILENO);
    blocked_signals blocked;
    ::raise(SIGHUP);  // waits, across exec
    (void)become(program.get(), {"x"}, {}, {});
    return 1;
  });
  output.write_end.reset();
  auto seen = read_facts(output.read_end.get());
  CHECK(seen["pid"] == std::to_string(child));
  constexpr unsigned long hup = 1, term = 1UL << (SIGTERM - 1), change = 1UL << (SIGCHLD - 1);
  auto blocked = std::stoul(seen["SigBlk"], nullptr, 16);
  CHECK((blocked & (hup | term | change)) == (hup | term | change));
  auto pending = std::stoul(seen["SigPnd"], nullptr, 16) | std::stoul(seen["ShdPnd"], nullptr, 16);
  CHECK(pending == hup);
  CHECK(test::exit_code_of(child) == 0);
}

TEST_CASE("signals are blocked for as long as asked, and unblocked by a successor") {
  auto is_blocked = [](int number) {
    sigset_t now;
    ::sigprocmask(SIG_SETMASK, nullptr, &now);
    return ::sigismember(&now, number) == 1;
  };
  REQUIRE_FALSE(is_blocked(SIGHUP));
  {
    blocked_signals blocked;
    CHECK(is_blocked(SIGHUP));
    { blocked_signals again; }
    CHECK(is_blocked(SIGHUP));
  }
  CHECK_FALSE(is_blocked(SIGHUP));
  CHECK(test::exit_code_of(test::start_child([&] {
          blocked_signals blocked;
          unblock_signals();
          return is_blocked(SIGHUP) || is_blocked(SIGTERM);
        })) == 0);
}

TEST_CASE("who cannot become another program is told why, and nothing has changed") {
  test::scratch_directory scratch;
  auto file = [&](char const* name, std::string const& content, unsigned mode) {
    handoff::testing::write_file(scratch / name, content, mode);
    return unique_fd(::open((scratch / name).c_str(), O_PATH | O_CLOEXEC));
  };
  auto passed = some_file(), other = some_file();
  int const numbers[] = {passed.get()};
  auto no_program = file("text", "no program at all\n", 0755);
  auto why = become(no_program.get(), {"/usr/sbin/handoffd"}, {}, numbers);
  CHECK_THAT(why.message(), Contains("becoming /usr/sbin/handoffd"));
  CHECK(why.code == std::errc::executable_format_error);
  CHECK(test::is_close_on_exec(passed.get()));

  auto not_allowed = file("mode",
                          "\x7f"
                          "ELF",
                          0644);
  CHECK(become(not_allowed.get(), {"x"}, {}, numbers).code == std::errc::permission_denied);
  CHECK(become(-1, {"x"}, {}, numbers).code == std::errc::bad_file_descriptor);
  unique_fd program(::open(describe_process.c_str(), O_PATH | O_CLOEXEC));
  int const closed[] = {passed.get(), 1000};
  CHECK(become(program.get(), {"x"}, {}, closed).code == std::errc::bad_file_descriptor);
  CHECK(test::is_close_on_exec(passed.get()));
  CHECK(test::is_close_on_exec(other.get()));
}

TEST_CASE("a successor closes all that its snapshot does not name") {
  CHECK(test::exit_code_of(test::start_child([] {
          std::vector<int> open;
          for (int i = 0; i < 8; ++i) open.push_back(::open("/dev/null", O_RDONLY));
          int const high = ::fcntl(open[0], F_DUPFD, 500);
          // In any order, twice, a standard stream among them, and one that is not open.
          std::vector<int> kept{high, open[5], open[2], open[2], STDOUT_FILENO, 900};
          close_all_but(kept);
          for (int fd : open) {
            bool is_kept = std::ranges::count(kept, fd) > 0;
            if (is_open(fd) != is_kept) return 1;
            if (is_kept && !test::is_close_on_exec(fd)) return 2;
          }
          if (!is_open(high) || !test::is_close_on_exec(high)) return 3;
          for (int stream : {0, 1, 2})
            if (is_open(stream) && test::is_close_on_exec(stream)) return 4;
          return 0;
        })) == 0);
  CHECK(test::exit_code_of(test::start_child([] {
          int const fd = ::open("/dev/null", O_RDONLY);
          close_all_but({});
          return is_open(fd) || !is_open(STDOUT_FILENO);
        })) == 0);
}

// ---- bytes

TEST_CASE("what was put in memory is read as often as wanted, and changed by nobody") {
  std::string const content(100'000, 's');
  auto memory = put_in_memory(content);
  REQUIRE(memory);
  int const fd = memory->get();
  CHECK(test::is_close_on_exec(fd));
  for (int time = 0; time < 2; ++time) CHECK(read_all(fd, content.size()).value() == content);
  CHECK(::pwrite(fd, "x", 1, 0) == -1);
  CHECK(::ftruncate(fd, 5) == -1);
  CHECK(::ftruncate(fd, 200'000) == -1);
  CHECK(::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == -1);
  auto too_long = read_all(fd, content.size() - 1);
  REQUIRE_FALSE(too_long);
  CHECK_THAT(too_long.error().message(), Contains("more than 99999 bytes"));
  CHECK(read_all(put_in_memory("")->get(), 0).value().empty());
  auto pipe = make_pipe();
  CHECK_FALSE(read_all(pipe.read_end.get(), 10));
}

// ---- names of sockets

TEST_CASE("a socket has one cookie, whoever holds it") {
  auto one = test::open_one(test::tcp()), other = test::open_one(test::tcp());
  unique_fd copy(::dup(one.fd()));
  CHECK(cookie_of(one.fd()) != 0);
  CHECK(cookie_of(copy.get()) == cookie_of(one.fd()));
  CHECK(cookie_of(other.fd()) != cookie_of(one.fd()));
  CHECK(cookie_of(some_file().get()) == 0);
  CHECK(cookie_of(-1) == 0);
}

TEST_CASE("a boot has one name") {
  CHECK(boot_id().size() == 36);
  CHECK(boot_id() == boot_id());
}
