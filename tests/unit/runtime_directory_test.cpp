#include "edge_support.hpp"

#include <os/listener.hpp>
#include <os/runtime_directory.hpp>

#include <fstream>

using namespace handoff;
using namespace handoff::test;

namespace {

mode_t mode_of(std::string const& path) {
  struct stat file;
  REQUIRE(::lstat(path.c_str(), &file) == 0);
  return file.st_mode & 07777;
}

std::string refusal(std::string const& base, std::string const& service) {
  auto opened = runtime_directory::open(base, service);
  return opened ? "" : opened.error().message();
}

}  // namespace

TEST_CASE("the runtime directory is made with its modes, whatever the umask") {
  scratch_directory scratch;
  mode_t before = ::umask(0077);
  auto opened = runtime_directory::open(scratch / "run/handoff", "web");
  ::umask(before);
  REQUIRE(opened);
  CHECK(opened->control_socket() == scratch / "run/handoff/web.sock");
  CHECK(mode_of(scratch / "run/handoff") == 0755);
  CHECK(opened->notify_directory() == scratch / "run/handoff/web.notify");
  CHECK(mode_of(opened->notify_directory()) == 0711);
  CHECK(is_close_on_exec(opened->lock_fd()));
}

TEST_CASE("one supervisor a service: the second is refused and told the pid of the first") {
  scratch_directory scratch;
  {
    auto first = runtime_directory::open(scratch.path, "web");
    REQUIRE(first);
    std::string expected = "'web' is supervised already, by pid " + std::to_string(::getpid());
    CHECK(refusal(scratch.path, "web") == expected);
    CHECK(exit_code_of(start_child([&] { return refusal(scratch.path, "web") == expected ? 0 : 1; })) == 0);
    CHECK(refusal(scratch.path, "mail") == "");
  }
  CHECK(refusal(scratch.path, "web") == "");
}

TEST_CASE("the lock survives an exec of ourselves by its descriptor") {
  scratch_directory scratch;
  auto first = runtime_directory::open(scratch.path, "web");
  REQUIRE(first);
  unique_fd inherited(::dup(first->lock_fd()));
  first = plain_failure("gone");
  CHECK_THAT(refusal(scratch.path, "web"), Catch::Contains("supervised already"));
  auto successor = runtime_directory::open(scratch.path, "web", std::move(inherited));
  REQUIRE(successor);
  CHECK_THAT(refusal(scratch.path, "web"), Catch::Contains("supervised already"));
}

TEST_CASE("stale notify sockets go at the start, answered ones and other files stay") {
  scratch_directory scratch;
  std::string notify = scratch / "web.notify";
  REQUIRE(runtime_directory::open(scratch.path, "web"));
  auto socket_at = [&](char const* name) {
    unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    auto address = unix_socket_address(notify + "/" + name);
    REQUIRE(::bind(fd.get(), address->get(), address->length) == 0);
    return fd;
  };
  { socket_at("7.1"); }
  auto kept = socket_at("8.1");
  std::ofstream(notify + "/note") << "x";
  REQUIRE(runtime_directory::open(scratch.path, "web"));
  CHECK_FALSE(std::filesystem::exists(notify + "/7.1"));
  CHECK(std::filesystem::exists(notify + "/8.1"));
  CHECK(std::filesystem::exists(notify + "/note"));
}

TEST_CASE("what stands in the way of the runtime directory is named") {
  scratch_directory scratch;
  SECTION("a file") {
    std::ofstream(scratch / "run") << "x";
    CHECK(refusal(scratch / "run", "web") ==
          "preparing the runtime directory: opening " + (scratch / "run") + ": Not a directory");
  }
  SECTION("a link, which could lead anywhere") {
    std::filesystem::create_directory_symlink("/tmp", scratch / "web.notify");
    CHECK_THAT(refusal(scratch.path, "web"), Catch::EndsWith("web.notify: Not a directory"));
  }
  SECTION("somebody else's directory") {
    if (!has_privileges()) return;
    std::filesystem::create_directory(scratch / "run");
    REQUIRE(::chown((scratch / "run").c_str(), nobody, nobody) == 0);
    CHECK_THAT(refusal(scratch / "run", "web"), Catch::EndsWith("belongs to user 65534, not to us"));
  }
}

TEST_CASE("nobody else can list the state directory") {
  scratch_directory scratch;
  REQUIRE(make_state_directory(scratch / "state/handoff"));
  CHECK(mode_of(scratch / "state/handoff") == 0711);
  CHECK(make_state_directory(scratch / "state/handoff"));
}

TEST_CASE("where the directories are") {
  auto failed = exit_code_of(start_child([] {
    for (auto const* name :
         {"HANDOFF_RUNTIME_DIR", "HANDOFF_STATE_DIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"}) {
      ::unsetenv(name);
    }
    ::setenv("HOME", "/home/somebody", 1);
    if (is_root()) {
      if (runtime_directory_path() != "/run/handoff" || state_directory_path() != "/var/lib/handoff")
        return 1;
      if (::setresuid(nobody, nobody, nobody) < 0) return 2;
    }
    if (runtime_directory_path()) return 3;
    if (state_directory_path() != "/home/somebody/.local/state/handoff") return 4;
    ::setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    ::setenv("XDG_STATE_HOME", "/state", 1);
    if (runtime_directory_path() != "/run/user/7/handoff" || state_directory_path() != "/state/handoff")
      return 5;
    ::setenv("HANDOFF_RUNTIME_DIR", "/elsewhere", 1);
    ::setenv("HANDOFF_STATE_DIR", "/there", 1);
    return runtime_directory_path() == "/elsewhere" && state_directory_path() == "/there" ? 0 : 6;
  }));
  CHECK(failed == 0);
}
