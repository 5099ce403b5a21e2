#include "edge_support.hpp"
#include "launching.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>

using namespace handoff;
using namespace handoff::testing;

namespace {

std::string descriptors_up_to(int last) {
  std::string text;
  for (int number = 0; number <= last; ++number) text += (number == 0 ? "" : " ") + std::to_string(number);
  return text;
}

std::string inode_of(int fd) {
  struct stat status{};
  REQUIRE(::fstat(fd, &status) == 0);
  return std::to_string(status.st_ino);
}

std::vector<unique_fd> make_sockets(std::size_t count) {
  std::vector<unique_fd> sockets;
  for (std::size_t i = 0; i < count; ++i) {
    sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(sockets.back());
  }
  return sockets;
}

std::vector<int> numbers_of(std::vector<unique_fd> const& owned) {
  std::vector<int> numbers;
  for (auto const& fd : owned) numbers.push_back(fd.get());
  return numbers;
}

// The stage and errno of a launch that must fail, and that it ends with 127.
std::string failure_of(launch_spec const& spec, launch_descriptors descriptors = {}) {
  child started = start(spec, descriptors);
  launch_report report = started.report();
  REQUIRE(report.progress == launch_progress::failed);
  CHECK(started.end() == exit_status{exit_status::kind::exited, 127, false});
  return describe_launch_failure(report.stage, report.error_number);
}

// Runs `body` in a child of the test, so that what it changes ends with it. Its result is the child's exit
// code.
int in_a_process_of_its_own(std::function<int()> const& body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    try {
      ::_exit(body());
    } catch (...) {
      ::_exit(254);  // a failed REQUIRE must not run the rest of the tests a second time
    }
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("a launched process has exactly its listeners, in order, from 3 on") {
  std::size_t count = GENERATE(0U, 1U, 2U, 253U, 254U, 300U, 1000U);
  CAPTURE(count);
  auto sockets = make_sockets(count);
  // Something that handoffd forgot to mark close-on-exec must not leak either.
  unique_fd forgotten(::dup(STDERR_FILENO));
  unique_fd high(::fcntl(STDERR_FILENO, F_DUPFD, 1500));
  auto executable = unique_fd(::open(describe_process.c_str(), O_PATH | O_CLOEXEC));
  auto numbers = numbers_of(sockets);
  auto seen = describe(spec_for(describe_process), {.executable = executable.get(), .listeners = numbers});
  CHECK(seen["descriptors"] == descriptors_up_to(2 + static_cast<int>(count)));
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(seen["inode." + std::to_string(3 + i)] == inode_of(sockets[i].get()));
  }
}

TEST_CASE("LISTEN_PID is the service's own pid, whatever the environment said") {
  auto sockets = make_sockets(1);
  auto numbers = numbers_of(sockets);
  launch_spec spec = spec_for(describe_process, {"LISTEN_PID=argument"});
  spec.environment = {"LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=http"};
  auto seen = describe(spec, {.listeners = numbers});
  CHECK(seen["env.LISTEN_PID"] == seen["pid"]);
  CHECK(seen["env.LISTEN_FDS"] == "1");
  CHECK(seen["env.LISTEN_FDNAMES"] == "http");
  CHECK(seen["variables"] == "3");
  CHECK(seen["argument"] == "LISTEN_PID=argument");

  seen = describe(spec);
  CHECK_FALSE(seen.contains("env.LISTEN_PID"));
}

TEST_CASE("a service begins with a clean slate") {
  auto seen = describe([](launch_spec& spec) { spec.environment = {"ONLY=this"}; });
  CHECK(seen["session"] == seen["pid"]);
  CHECK(seen["NSpgid"] == seen["pid"]);
  CHECK(seen["variables"] == "1");
  CHECK(seen["env.ONLY"] == "this");
  CHECK(seen["NoNewPrivs"] == "0");
}

TEST_CASE("signals that handoffd blocks, ignores or handles are the default in the service") {
  int outcome = in_a_process_of_its_own([] {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGRTMIN + 3, SIG_IGN);
    ::signal(SIGTERM, [](int) {});
    // The two that libc keeps for itself, as a runtime that knows no libc may leave them.
    struct {
      void (*handler)(int) = SIG_IGN;
      std::array<unsigned long, 3> rest{};
    } ignore;
    for (int number : {32, 33}) ::syscall(SYS_rt_sigaction, number, &ignore, nullptr, 8);
    auto seen = describe(spec_for(describe_process));
    std::string const none = "0000000000000000";
    return seen["SigBlk"] == none && seen["SigIgn"] == none ? 0 : 1;
  });
  CHECK(outcome == 0);
}

TEST_CASE("a signal between launch and exec kills nobody") {
  int hit_in_the_window = 0;
  for (int attempt = 0; attempt < 2000 && hit_in_the_window < 40; ++attempt) {
    auto output = make_pipe();
    child started = start(spec_for(describe_process), {.output = output.write_end.get()});
    // Stopped (nothing can block that), the launcher stays in the window while the signals arrive.
    REQUIRE(started.held.signal(SIGSTOP));
    siginfo_t stopped{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(started.held.pid()), &stopped, WSTOPPED | WEXITED | WNOWAIT) ==
            0);
    auto report = read_launch_report(started.channel.get());
    REQUIRE(report);
    if (report->progress == launch_progress::running) {
      ++hit_in_the_window;
      for (int number : {SIGHUP, SIGTERM, SIGUSR1, SIGPIPE}) REQUIRE(started.held.signal(number));
    }
    REQUIRE(started.held.signal(SIGCONT));
    REQUIRE(started.end() == exit_status{exit_status::kind::exited, 0, false});
  }
  CHECK(hit_in_the_window == 40);
}

TEST_CASE("a step that fails is told with its stage and errno") {
  scratch_directory scratch;
  write_file(scratch / "plain", "no program\n", 0644);
  write_file(scratch / "garbage", "\x01\x02\x03 no program", 0755);
  write_file(scratch / "script", "#!/no/such/interpreter\n", 0755);
  auto program = [&](std::string const& name) { return spec_for(scratch / name); };
  auto with = [](std::function<void(launch_spec&)> const& change) {
    launch_spec spec = spec_for(describe_process);
    change(spec);
    return spec;
  };
  CHECK(failure_of(program("missing")) == "exec: ENOENT (No such file or directory)");
  CHECK(failure_of(program("plain")) == "exec: EACCES (Permission denied)");
  CHECK(failure_of(program("garbage")) == "exec: ENOEXEC (Exec format error)");
  CHECK(failure_of(program("script")) == "exec: ENOENT (No such file or directory)");
  CHECK(failure_of(spec_for(scratch.path())) == "exec: EACCES (Permission denied)");
  CHECK(failure_of(with([](auto& s) { s.arguments.emplace_back(256 << 10, 'a'); })) ==
        "exec: E2BIG (Argument list too long)");
  CHECK(failure_of(with([](auto& s) { s.working_directory = "/no/such/place"; })) ==
        "working directory: ENOENT (No such file or directory)");
  CHECK(failure_of(with([&](auto& s) { s.working_directory = scratch / "plain"; })) ==
        "working directory: ENOTDIR (Not a directory)");
  CHECK(failure_of(with([](auto& s) { s.limits = {{999, 1, 1}}; })) == "limits: EINVAL (Invalid argument)");
  CHECK(failure_of(with([](auto& s) { s.limits = {{RLIMIT_NOFILE, 2, 1}}; })) ==
        "limits: EINVAL (Invalid argument)");
  CHECK(failure_of(with([](auto& s) { s.oom_score_adjust = 5000; })) ==
        "priority: EINVAL (Invalid argument)");
  CHECK(failure_of(with([](auto& s) { s.ambient_capabilities = 1ULL << 63; })) ==
        "capabilities: EINVAL (Invalid argument)");
  unique_fd read_only(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(failure_of(spec_for(describe_process), {.cgroup = read_only.get()}) ==
        "cgroup: EBADF (Bad file descriptor)");
}

TEST_CASE("a step that only root may take fails for others, as itself") {
  if (!test::has_privileges()) return;
  auto told_to_nobody = [](std::function<void(launch_spec&)> const& change) {
    return in_a_process_of_its_own([&] {
      launch_spec spec = spec_for(describe_process);
      change(spec);
      test_launcher();
      if (::setresuid(65534, 65534, 65534) != 0) return 255;
      child started = start(spec, {});
      return static_cast<int>(started.report().stage);
    });
  };
  auto stage = [](launch_stage s) { return static_cast<int>(s); };
  CHECK(told_to_nobody([](auto& s) { s.user = 0, s.group = 0; }) == stage(launch_stage::identity));
  CHECK(told_to_nobody([](auto& s) { s.nice = -5; }) == stage(launch_stage::priority));
  CHECK(told_to_nobody([](auto& s) { s.oom_score_adjust = -500; }) == stage(launch_stage::priority));
  CHECK(told_to_nobody([](auto& s) { s.limits = {{RLIMIT_NOFILE, 1 << 19, 1 << 19}}; }) ==
        stage(launch_stage::limits));
  CHECK(told_to_nobody([](auto& s) { s.ambient_capabilities = 1 << 10; }) ==
        stage(launch_stage::capabilities));
}

TEST_CASE("a service gets the identity, limits and priority of its spec") {
  if (!test::has_privileges()) return;
  scratch_directory scratch;
  auto seen = describe([&](launch_spec& spec) {
    spec.user = 65534;
    spec.group = 65533;
    spec.groups = {4, 24};
    spec.umask = 027;
    spec.limits = {{RLIMIT_NOFILE, 64, 512}, {RLIMIT_CORE, 0, UINT64_MAX}};
    spec.nice = 7;
    spec.oom_score_adjust = 321;
    spec.no_new_privileges = true;
    spec.working_directory = scratch.path();
  });
  CHECK(seen["Uid"] == "65534 65534 65534 65534");
  CHECK(seen["Gid"] == "65533 65533 65533 65533");
  CHECK(seen["Groups"] == "4 24 ");
  CHECK(seen["Umask"] == "0027");
  CHECK(seen["files"] == "64 512");
  CHECK(seen["nice"] == "7");
  CHECK(seen["oom"] == "321");
  CHECK(seen["NoNewPrivs"] == "1");
  CHECK(seen["CapEff"] == "0000000000000000");
  CHECK(seen["CapPrm"] == "0000000000000000");
  CHECK(seen["directory"] == scratch.path());
}

TEST_CASE("an ambient capability survives the change of user, alone") {
  if (!test::has_privileges()) return;
  bool no_new_privileges = GENERATE(false, true);
  auto seen = describe([&](launch_spec& spec) {
    spec.user = spec.group = 65534;
    spec.ambient_capabilities = 1 << 10;  // CAP_NET_BIND_SERVICE
    spec.no_new_privileges = no_new_privileges;
  });
  for (char const* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) CHECK(seen[set] == "0000000000000400");
}

TEST_CASE("the working directory is entered as the service's user") {
  if (!test::has_privileges()) return;
  scratch_directory scratch;
  REQUIRE(::mkdir((scratch / "private").c_str(), 0700) == 0);
  launch_spec spec = spec_for(describe_process);
  spec.user = spec.group = 65534;
  spec.working_directory = scratch / "private";
  CHECK(failure_of(spec) == "working directory: EACCES (Permission denied)");
}

TEST_CASE("a deleted executable runs by descriptor") {
  scratch_directory scratch;
  copy_file(describe_process, scratch / "service");
  unique_fd kept(::open((scratch / "service").c_str(), O_PATH | O_CLOEXEC));
  REQUIRE(::unlink((scratch / "service").c_str()) == 0);
  launch_spec spec = spec_for(scratch / "service");
  CHECK(failure_of(spec, {.executable = kept.get()}) == "exec: ENOENT (No such file or directory)");
  spec.by_descriptor = true;
  auto seen = describe(spec, {.executable = kept.get()});
  CHECK(seen["descriptors"] == "0 1 2");
  CHECK(seen["argument"] == scratch / "service");
}

TEST_CASE("a script runs by path, with the listeners") {
  scratch_directory scratch;
  write_file(scratch / "service", "#!/bin/sh\nexec " + describe_process + " \"$0\"\n", 0755);
  auto sockets = make_sockets(2);
  auto numbers = numbers_of(sockets);
  auto seen = describe(spec_for(scratch / "service"), {.listeners = numbers});
  CHECK(seen["descriptors"].starts_with("0 1 2 3 4"));
  CHECK(seen["argument"] == scratch / "service");
  CHECK(seen["env.LISTEN_PID"] == seen["pid"]);
}

TEST_CASE("a large environment arrives whole") {
  auto seen = describe([](launch_spec& spec) {
    for (int i = 0; i < 16; ++i)
      spec.environment.push_back("LARGE" + std::to_string(i) + "=" + std::string(65000, 'x'));
    spec.environment.emplace_back("LAST=1");
  });
  CHECK(seen["variables"] == "17");
  CHECK(seen["env.LAST"] == "1");
}

TEST_CASE("stdin is empty, or handoffd's own when the spec says so") {
  struct stat null{};
  REQUIRE(::stat("/dev/null", &null) == 0);
  CHECK(describe(spec_for(describe_process))["inode.0"] == std::to_string(null.st_ino));
  auto ours = describe([](launch_spec& spec) { spec.null_input = false; });
  CHECK(ours["inode.0"] == inode_of(STDIN_FILENO));
}

TEST_CASE("a launcher started without standard descriptors gives the service some") {
  int outcome = in_a_process_of_its_own([] {
    test_launcher();
    for (int number : {0, 1, 2}) ::close(number);
    auto sockets = make_sockets(4);
    auto numbers = numbers_of(sockets);
    auto seen = describe(spec_for(describe_process), {.listeners = numbers});
    return seen["descriptors"] == "0 1 2 3 4 5 6" ? 0 : 1;
  });
  CHECK(outcome == 0);
}

TEST_CASE("an unprivileged supervisor with 1,024 descriptors passes most of them") {
  if (!test::has_privileges()) return;
  int outcome = in_a_process_of_its_own([] {
    test_launcher();
    rlimit usual{.rlim_cur = 1024, .rlim_max = 1024};
    if (::setrlimit(RLIMIT_NOFILE, &usual) != 0 || ::setresuid(65534, 65534, 65534) != 0) return 255;
    auto sockets = make_sockets(900);
    auto numbers = numbers_of(sockets);
    for (int round = 0; round < 5; ++round) {
      auto seen = describe(spec_for(describe_process), {.listeners = numbers});
      if (seen["descriptors"] != descriptors_up_to(902)) return 1;
    }
    return 0;
  });
  CHECK(outcome == 0);
}

TEST_CASE("a service with a lower descriptor limit than it has listeners is launched all the same") {
  auto sockets = make_sockets(300);
  auto numbers = numbers_of(sockets);
  launch_spec spec = spec_for("/bin/true");
  spec.limits = {{RLIMIT_NOFILE, 64, 64}};
  spec.oom_score_adjust = 0;
  unique_fd silence(::open("/dev/null", O_WRONLY | O_CLOEXEC));  // its loader cannot open a library
  child started = start(spec, {.output = silence.get(), .listeners = numbers});
  CHECK(started.report().progress == launch_progress::executed);
}

TEST_CASE("a launch that cannot be had now is an error that passes, and leaves nothing behind") {
  int outcome = in_a_process_of_its_own([] {
    test_launcher();
    auto bytes = encode_launch(spec_for(describe_process)).value();
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    // Every limit from one where nothing can be opened to one where all can: each failure is a shortage.
    for (rlim_t files = 3; files < 200; ++files) {
      rlimit tight{.rlim_cur = files, .rlim_max = before.rlim_max};
      if (::setrlimit(RLIMIT_NOFILE, &tight) != 0) return 255;
      auto started = launch(test_launcher(), bytes, {});
      if (started) {
        child running(std::move(*started));
        return files > 5 ? 0 : 2;
      }
      // A sanitizer looks at memory through descriptors of its own.
      if (::setrlimit(RLIMIT_NOFILE, &before) != 0) return 255;
      if (!is_transient(started.error())) return 3;
      if (::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) return 4;
    }
    return 5;
  });
  CHECK(outcome == 0);
}

TEST_CASE("two hundred launches leave no descriptor behind") {
  int before = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  ::close(before);
  for (int i = 0; i < 100; ++i) {
    child good = start(spec_for("/bin/true"), {});
    CHECK(good.end() == exit_status{exit_status::kind::exited, 0, false});
    child bad = start(spec_for("/no/such/program"), {});
    CHECK(bad.end() == exit_status{exit_status::kind::exited, 127, false});
  }
  int after = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  ::close(after);
  CHECK(after == before);
}

TEST_CASE("only a shortage is transient") {
  auto is_shortage = [](int number) { return is_transient(os_failure("launching", number).error()); };
  for (int number : {EAGAIN, ETOOMANYREFS, EMFILE, ENFILE, ENOMEM, ENOBUFS}) CHECK(is_shortage(number));
  for (int number : {ENOENT, EPERM, EINVAL, EBADF}) CHECK_FALSE(is_shortage(number));
  CHECK_FALSE(is_transient(plain_failure("launching").error()));
}
