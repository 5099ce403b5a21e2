#include "launching.hpp"

#include <os/pidfd.hpp>
#include <os/process_tree.hpp>

#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

using namespace handoff;
using namespace handoff::testing;

namespace {

// While it stands, orphans come to the test.
struct subreaper {
  subreaper() { REQUIRE(become_child_subreaper()); }
  ~subreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 0UL, 0UL, 0UL, 0UL); }
};

struct orphan {
  pid_t pid = -1;
  unique_fd pidfd;
};

// A grandchild that left its session, and whose parents are gone. It has the environment of the service.
orphan make_orphan(std::vector<std::string> environment) {
  auto output = make_pipe();
  launch_spec spec = spec_for(describe_process, {"orphan"});
  spec.environment = std::move(environment);
  child service = start(spec, {.output = output.write_end.get()});
  output.write_end.reset();
  auto seen = read_facts(output.read_end.get());
  CHECK(service.end() == exit_status{exit_status::kind::exited, 0, false});
  pid_t pid = std::atoi(seen["orphan"].c_str());
  orphan made{pid, unique_fd(open_pidfd(pid))};
  REQUIRE(made.pidfd);
  REQUIRE(comes_true([&] { return std::ranges::count(direct_children().value(), pid) == 1; }));
  return made;
}

std::vector<std::string> const ours = {"HANDOFF_SERVICE=web", "HANDOFF_GENERATION=7", "HANDOFF_INSTANCE=1"};

}  // namespace

TEST_CASE("an orphan that left its session is found by its variables, killed and reaped") {
  subreaper here;
  orphan lost = make_orphan({"A=1", ours[0], ours[1], ours[2], "Z=1"});
  std::vector<pid_t> nobody;
  CHECK(carries_variables(lost.pid, ours));
  CHECK(kill_orphans(nobody, ours).value() == 1);
  REQUIRE(becomes_readable(lost.pidfd.get()));
  CHECK(kill_orphans(nobody, ours).value() == 0);  // a zombie carries nothing
  CHECK(comes_true([&] { return reap_orphans(nobody).value() > 0 || open_pidfd(lost.pid) < 0; }));
  CHECK(send_signal(lost.pidfd.get(), 0) != 0);
}

TEST_CASE("an orphan of another generation, or one that is known, is left alone") {
  subreaper here;
  orphan other = make_orphan({ours[0], "HANDOFF_GENERATION=70", ours[2], "X=HANDOFF_GENERATION=7"});
  std::vector<pid_t> known;
  CHECK_FALSE(carries_variables(other.pid, ours));
  CHECK(kill_orphans(known, ours).value() == 0);
  std::vector<std::string> const theirs = {"HANDOFF_GENERATION=70"};
  known.push_back(other.pid);
  CHECK(kill_orphans(known, theirs).value() == 0);
  CHECK(send_signal(other.pidfd.get(), 0) == 0);

  CHECK(kill_orphans({}, theirs).value() == 1);
  REQUIRE(becomes_readable(other.pidfd.get()));
  REQUIRE(reap_orphans(known));
  CHECK(send_signal(other.pidfd.get(), 0) == 0);
  CHECK(reap_orphans({}).value() >= 1);
  CHECK(send_signal(other.pidfd.get(), 0) != 0);
}

TEST_CASE("variables are found at the end of a large environment") {
  std::vector<std::string> environment;
  for (int i = 0; i < 16; ++i)
    environment.push_back("LARGE" + std::to_string(i) + "=" + std::string(65000, 'x'));
  environment.insert(environment.end(), ours.begin(), ours.end());
  launch_spec spec = spec_for(describe_process, {"wait"});
  spec.environment = environment;
  auto output = make_pipe();
  child running = start(spec, {.output = output.write_end.get()});
  REQUIRE(running.report().progress == launch_progress::executed);
  // The kernel lays it out a little later.
  CHECK(comes_true([&] { return carries_variables(running.held.pid(), ours); }));
  CHECK_FALSE(carries_variables(::getpid(), ours));
  CHECK_FALSE(carries_variables(1 << 29, ours));  // beyond any pid
}

TEST_CASE("children are listed while they are ours, zombies included") {
  child running = start(spec_for("/bin/true"), {});
  REQUIRE(becomes_readable(running.held.pidfd()));
  pid_t pid = running.held.pid();
  CHECK(std::ranges::count(direct_children().value(), pid) == 1);
  (void)running.end();
  CHECK(std::ranges::count(direct_children().value(), pid) == 0);
}

TEST_CASE("who belongs to a session is found when its leader is gone") {
  subreaper here;
  auto born = make_pipe(), end = make_pipe();
  pid_t const leader = ::fork();
  REQUIRE(leader >= 0);
  if (leader == 0) {
    end.write_end.reset();
    ::setsid();
    pid_t const member = ::fork();
    if (member > 0) ::_exit(::write(born.write_end.get(), &member, sizeof member) == sizeof member ? 0 : 1);
    char byte = 0;
    ::_exit(static_cast<int>(::read(end.read_end.get(), &byte, 1)));
  }
  pid_t member = -1;
  REQUIRE(::read(born.read_end.get(), &member, sizeof member) == sizeof member);
  REQUIRE(::waitpid(leader, nullptr, 0) == leader);
  std::array const sessions{leader};
  std::array const known{member};
  CHECK(find_members({}, sessions).value() == std::vector<pid_t>{member});
  CHECK(find_members(known, sessions).value().empty());
  end.write_end.reset();
  CHECK(::waitpid(member, nullptr, 0) == member);
}
