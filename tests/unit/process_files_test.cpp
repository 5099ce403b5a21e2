#include <os/process_files.hpp>
#include <os/process_tree.hpp>
#include <wire/process_maps.hpp>

#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

using namespace handoff;

namespace {

// A child with a child of its own; both wait to be killed.
struct family {
  pid_t parent = -1;
  pid_t child = -1;
  family() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    parent = ::fork();
    if (parent == 0) {
      pid_t grandchild = ::fork();
      if (grandchild > 0) (void)!::write(ends[1], &grandchild, sizeof grandchild);
      for (;;) ::pause();
    }
    REQUIRE(::read(ends[0], &child, sizeof child) == sizeof child);
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~family() {
    ::kill(child, SIGKILL);
    ::kill(parent, SIGKILL);
    ::waitpid(parent, nullptr, 0);
  }
};

}  // namespace

TEST_CASE("an instance is its process with all descendants") {
  family here;
  // Its supervisor's other children carry other variables.
  std::vector<std::string> const nobodys{"HANDOFF_INSTANCE=none"};
  CHECK(processes_of_instance(here.parent, ::getpid(), nobodys) ==
        std::vector<pid_t>{here.parent, here.child});
  CHECK(children_of(here.child).empty());
  CHECK(processes_of_instance(here.child, ::getpid(), nobodys) == std::vector<pid_t>{here.child});
}

TEST_CASE("a process shows what it runs") {
  pid_t const self = ::getpid();
  std::string const executable = std::filesystem::read_symlink("/proc/self/exe");
  CHECK(executable_of(self) == executable);
  CHECK(!arguments_of(self).empty());
  CHECK(absolute_path_for(self, "/a") == "/a");
  CHECK(absolute_path_for(self, "a") == std::filesystem::current_path().string() + "/a");

  auto maps = read_maps(self);
  REQUIRE(maps);
  auto code = read_code_mappings(*maps);
  auto own = std::ranges::find(code, executable, &mapping::path);
  REQUIRE(own != code.end());
  auto files = files_named(self, executable);
  REQUIRE(files.size() == 1);
  CHECK(files[0].inode == own->file.inode);
  CHECK(!build_id_of(files[0]).empty());
  CHECK(build_id_of_executable(self) == build_id_of(files[0]));
  auto mapped = build_id_of_mapping(self, own->begin, own->end);
  CHECK((mapped.empty() || mapped == build_id_of(files[0])));  // not everybody may see it
  CHECK(build_id_of_mapping(self, 1, 2).empty());
}

TEST_CASE("a path that names no regular file names nothing") {
  CHECK(files_named(::getpid(), "/nonexistent").empty());
  CHECK(files_named(::getpid(), "/dev/null").empty());
  CHECK(files_named(::getpid(), "/").empty());
}

TEST_CASE("a process is started between a file that was written before it and one written after it") {
  auto directory = std::filesystem::temp_directory_path() / ("handoff-started-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  auto changed = [&](char const* name) {
    std::ofstream(directory / name) << "x";
    return files_named(::getpid(), directory / name).at(0).changed;
  };
  auto seconds = [](timespec t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  };
  double before = seconds(changed("before"));
  family here;
  double after = seconds(changed("after"));
  constexpr double tick = 0.02;  // the start is known to one, and files are stamped by another
  double started = seconds(started_at(here.parent));
  CHECK(started > before - tick);
  CHECK(started < after + tick);
  CHECK(started_at(-1).tv_sec == 0);
  std::filesystem::remove_all(directory);
}
