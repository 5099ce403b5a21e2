#include "launching.hpp"

#include <os/cgroup.hpp>
#include <os/pidfd.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

using namespace handoff;
using namespace handoff::testing;

namespace {

// A cgroup of the test's own, as if it had been delegated; empty where the machine has none to give.
class delegated_part {
 public:
  delegated_part() {
    std::ifstream mounts("/proc/self/mountinfo");
    std::ifstream own("/proc/self/cgroup");
    using text = std::istreambuf_iterator<char>;
    auto parent = cgroup_path(std::string(text(own), {}), std::string(text(mounts), {}));
    if (!parent) return;
    path_ = *parent + "/handoff-test-" + std::to_string(::getpid());
    if (::mkdir(path_.c_str(), 0755) != 0) path_.clear();
  }
  ~delegated_part() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  explicit operator bool() const { return !path_.empty(); }
  std::string const& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

TEST_CASE("our cgroup is found where version 2 is mounted") {
  std::string const unified =
      "22 27 0:21 / /proc rw - proc proc rw\n41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  std::string const hybrid =
      "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n41 31 0:38 / /sys/fs/cgroup/unified rw "
      "shared:1 - cgroup2 c rw\n";
  std::string const part = "41 31 0:38 /docker/a\\040b /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
  using found = std::optional<std::string>;
  auto [says, own, mounts, path] = GENERATE_COPY(table<char const*, std::string, std::string, found>({
      {"a unit", "0::/system.slice/web.service\n", unified, "/sys/fs/cgroup/system.slice/web.service"},
      {"the root", "0::/\n", unified, "/sys/fs/cgroup"},
      {"beside version 1", "9:pids:/x\n0::/user.slice\n", hybrid, "/sys/fs/cgroup/unified/user.slice"},
      {"in a container that sees the whole name", "0::/docker/a b/web\n", part, "/sys/fs/cgroup/web"},
      {"at the top of such a container", "0::/docker/a b\n", part, "/sys/fs/cgroup"},
      {"outside what is mounted", "0::/docker/a bc\n", part, std::nullopt},
      {"version 1 only", "9:pids:/\n", unified, std::nullopt},
      {"not mounted", "0::/\n", "22 27 0:21 / /proc rw - proc proc rw\n", std::nullopt},
      {"garbage", "0::/\n", "a - cgroup2 \n - cgroup2 \n", std::nullopt},
  }));
  CAPTURE(says);
  CHECK(cgroup_path(own, mounts) == path);
}

TEST_CASE("a cgroup is ours to divide when we live in one that we may write") {
  delegated_part part;
  if (!part) {
    WARN("no cgroup2 to write to");
    return;
  }
  pid_t pid = ::fork();
  if (pid == 0) {
    std::ofstream(part.path() + "/cgroup.procs") << 0 << std::flush;
    ::_exit(find_delegated_cgroup() == part.path() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

TEST_CASE("a cgroup finds and kills what hides from everything else") {
  delegated_part part;
  if (!part) {
    WARN("no cgroup2 to write to");
    return;
  }
  auto cgroup = generation_cgroup::create(part.path(), "web-7");
  REQUIRE(cgroup);
  CHECK(generation_cgroup::create(part.path(), "web-7"));  // a predecessor's is taken over
  CHECK_FALSE(cgroup->is_populated().value());

  auto output = make_pipe();
  auto processes = cgroup->open_processes();
  REQUIRE(processes);
  child service = start(spec_for(describe_process, {"orphan"}),
                        {.output = output.write_end.get(), .cgroup = processes->get()});
  output.write_end.reset();
  auto seen = read_facts(output.read_end.get());
  CHECK(seen["cgroup"].ends_with("/web-7"));
  CHECK(seen["descriptors"] == "0 1 2");
  pid_t orphan = std::atoi(seen["orphan"].c_str());
  unique_fd held(open_pidfd(orphan));
  REQUIRE(held);
  CHECK(cgroup->is_populated().value());
  CHECK_FALSE(cgroup->remove().value());

  REQUIRE(::mkdir((cgroup->path() + "/made-by-the-service").c_str(), 0755) == 0);
  REQUIRE(cgroup->kill_all());
  REQUIRE(becomes_readable(held.get()));
  (void)service.end();
  CHECK(comes_true([&] { return !cgroup->is_populated().value() && cgroup->remove().value(); }));
  CHECK(cgroup->remove().value());  // gone already
  CHECK_FALSE(cgroup->is_populated());
}

TEST_CASE("a cgroup that cannot be had is an error with its path") {
  auto refused = generation_cgroup::create("/no/such/place", "web-1");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() == "creating cgroup /no/such/place/web-1: No such file or directory");
}
