#include "launching.hpp"

#include <os/file.hpp>
#include <os/pidfd.hpp>
#include <os/process.hpp>

#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>

using namespace handoff;
using namespace handoff::testing;

namespace {

child run_shell(std::string const& script) {
  launch_spec spec = spec_for("/bin/sh", {"-c", script});
  child started = start(spec, {});
  REQUIRE(started.report().progress == launch_progress::executed);
  return started;
}

// A grandchild, held by pidfd as after a crash of its supervisor, whose parent tells its number.
std::pair<child, process> run_grandchild(std::string const& parent_does) {
  auto output = make_pipe();
  child parent = start(spec_for("/bin/sh", {"-c", parent_does}), {.output = output.write_end.get()});
  std::array<char, 16> line{};
  REQUIRE(becomes_readable(output.read_end.get()));
  REQUIRE(::read(output.read_end.get(), line.data(), line.size() - 1) > 0);
  pid_t pid = std::atoi(line.data());
  process stranger(pid, unique_fd(open_pidfd(pid)));
  REQUIRE(stranger);
  return {std::move(parent), std::move(stranger)};
}

}  // namespace

TEST_CASE("how a process ended is told in words") {
  auto [words, status] = GENERATE(table<std::string, exit_status>({
      {"exited 0", {exit_status::kind::exited, 0, false}},
      {"exited 1", {exit_status::kind::exited, 1, false}},
      {"killed by SIGKILL", {exit_status::kind::killed, SIGKILL, false}},
      {"killed by SIGSEGV (core dumped)", {exit_status::kind::killed, SIGSEGV, true}},
      {"killed by SIGRTMIN+2", {exit_status::kind::killed, SIGRTMIN + 2, false}},
      {"ended, nobody knows how", {}},
  }));
  CHECK(to_string(status) == words);
}

TEST_CASE("an end is seen before it is reaped, and reaped once") {
  auto [script, status] = GENERATE(table<std::string, exit_status>({
      {"exit 7", {exit_status::kind::exited, 7, false}},
      {"kill -TERM $$", {exit_status::kind::killed, SIGTERM, false}},
  }));
  child running = run_shell(script);
  REQUIRE(becomes_readable(running.held.pidfd()));
  CHECK(running.held.peek().value() == status);
  CHECK(running.held.peek().value() == status);
  CHECK(running.held.signal(SIGTERM));
  CHECK(running.held.reap().value() == status);
  CHECK_FALSE(running.held);
}

TEST_CASE("a process that runs has no status, and takes signals") {
  child running = run_shell("exec sleep 1000");
  CHECK(running.held.peek().value() == std::nullopt);
  CHECK(running.held.reap().value() == std::nullopt);
  REQUIRE(running.held);
  REQUIRE(running.held.signal(SIGUSR1));
  CHECK(running.end() == exit_status{exit_status::kind::killed, SIGUSR1, false});
}

TEST_CASE("killing the group reaches what the leader started, also when the leader is a zombie") {
  auto output = make_pipe();
  bool leader_ends_first = GENERATE(false, true);
  CAPTURE(leader_ends_first);
  launch_spec spec =
      spec_for("/bin/sh", {"-c", leader_ends_first ? "sleep 1000 & exit 0" : "sleep 1000 & wait"});
  child leader = start(spec, {.output = output.write_end.get()});
  output.write_end.reset();
  REQUIRE(leader.report().progress == launch_progress::executed);
  if (leader_ends_first) REQUIRE(becomes_readable(leader.held.pidfd()));
  REQUIRE(leader.held.kill_group());
  // The pipe ends when nobody of the group holds it any more.
  REQUIRE(becomes_readable(output.read_end.get()));
  char nothing = 0;
  CHECK(::read(output.read_end.get(), &nothing, 1) == 0);
}

TEST_CASE("a reaped process is never signalled by its number") {
  child running = run_shell("exit 0");
  REQUIRE(becomes_readable(running.held.pidfd()));
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(running.held.pid()), &info, WEXITED) ==
          0);  // somebody else's reaping
  auto refused = running.held.signal(SIGTERM);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code.value() == ESRCH);
  CHECK(running.held.kill_group().error().code.value() == ESRCH);
}

TEST_CASE("how a process ended that its parent does not collect is not known yet") {
  auto [parent, stranger] = run_grandchild("sleep 1000 & echo $!; exec sleep 1000");
  // A shell collects its children at any moment, sleep(1) never does.
  std::string const name_file = "/proc/" + std::to_string(parent.held.pid()) + "/comm";
  REQUIRE(comes_true([&] { return read_file(name_file, 64).value() == "sleep\n"; }));
  REQUIRE(stranger.signal(SIGUSR1));
  REQUIRE(becomes_readable(stranger.pidfd()));
  auto status = stranger.peek().value();
  REQUIRE(status);
  bool is_old_kernel = status->how == exit_status::kind::unknown;
  CHECK((is_old_kernel || status->how == exit_status::kind::uncollected));
}

TEST_CASE("the end of a process that is not our child is seen, and told where the kernel tells it") {
  auto [parent, stranger] = run_grandchild("sleep 1000 & echo $!; wait; exec sleep 1000");
  CHECK(stranger.peek().value() == std::nullopt);
  REQUIRE(stranger.signal(SIGUSR1));
  REQUIRE(becomes_readable(stranger.pidfd()));
  REQUIRE(comes_true([&] { return !stranger.signal(0); }));  // its parent reaped it
  auto status = stranger.reap().value();
  REQUIRE(status);
  bool is_told = *status == exit_status{exit_status::kind::killed, SIGUSR1, false};
  bool is_old_kernel = *status == exit_status{};
  CHECK((is_told || is_old_kernel));
}
