#include "edge_support.hpp"
#include "launching.hpp"

#include <os/build_id.hpp>
#include <os/executable.hpp>

#include <elf.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace handoff;
using namespace handoff::testing;

namespace {

int errno_of(result<pinned_executable> const& pinned) {
  REQUIRE_FALSE(pinned);
  return pinned.error().code.value();
}

std::string build_id_of(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(file);
  return read_build_id(file.get());
}

}  // namespace

TEST_CASE("what cannot be run is refused with the errno of exec") {
  scratch_directory scratch;
  write_file(scratch / "plain", "x", 0644);
  CHECK(errno_of(pinned_executable::open(scratch / "missing")) == ENOENT);
  CHECK(errno_of(pinned_executable::open(scratch / "plain")) == EACCES);
  CHECK(errno_of(pinned_executable::open(scratch.path())) == EACCES);
  CHECK(errno_of(pinned_executable::open(scratch / "plain/below")) == ENOTDIR);
}

TEST_CASE("symlinks are resolved once, and the file stays pinned") {
  scratch_directory scratch;
  for (char const* release : {"41", "42"}) {
    std::filesystem::create_directory(scratch / release);
    copy_file(describe_process, scratch / (std::string(release) + "/service"));
  }
  std::filesystem::create_symlink("41", scratch / "current");
  auto pinned = pinned_executable::open(scratch / "current/service").value();
  CHECK(pinned.path() == scratch / "41/service");
  CHECK_FALSE(pinned.is_script());
  CHECK((::fcntl(pinned.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);

  std::filesystem::remove(scratch / "current");
  std::filesystem::create_symlink("42", scratch / "current");
  CHECK(pinned.state() == executable_state::same);
  CHECK_FALSE(pinned.by_descriptor());
}

TEST_CASE("what happened to the file decides how an instance starts") {
  scratch_directory scratch;
  std::string path = scratch / "service";
  copy_file(describe_process, path);
  auto pinned = pinned_executable::open(path).value();
  auto starts = [&] {
    launch_spec spec = spec_for(pinned.path());
    spec.by_descriptor = pinned.by_descriptor();
    return describe(spec, {.executable = pinned.descriptor()})["descriptors"] == "0 1 2";
  };
  CHECK(pinned.state() == executable_state::same);
  CHECK(starts());

  SECTION("replaced by another file") {
    write_file(scratch / "new", "#!/bin/false\n", 0755);
    std::filesystem::rename(scratch / "new", path);
    CHECK(pinned.state() == executable_state::replaced);
    CHECK(pinned.by_descriptor());
    CHECK(starts());
  }
  SECTION("deleted") {
    std::filesystem::remove(path);
    CHECK(pinned.state() == executable_state::replaced);
    CHECK(pinned.by_descriptor());
    CHECK(starts());
  }
  SECTION("overwritten in place") {
    // The kernel refuses to write to a program that somebody still runs.
    REQUIRE(comes_true([&] { return bool(std::ofstream(path, std::ios::app) << "more" << std::flush); }));
    CHECK(pinned.state() == executable_state::overwritten);
  }
}

TEST_CASE("a script always runs by path") {
  scratch_directory scratch;
  std::string path = scratch / "service";
  write_file(path, "#!/bin/sh\n", 0755);
  auto pinned = pinned_executable::open(path).value();
  CHECK(pinned.is_script());
  CHECK(pinned.build_id().empty());
  CHECK(pinned.state() == executable_state::same);
  write_file(scratch / "new", "#!/bin/sh\n", 0755);
  std::filesystem::rename(scratch / "new", path);
  CHECK(pinned.state() == executable_state::replaced);
  CHECK_FALSE(pinned.by_descriptor());
  std::filesystem::remove(path);
  CHECK(pinned.state() == executable_state::missing);
  CHECK_FALSE(pinned.by_descriptor());
}

TEST_CASE("without its descriptor an adopted executable is the same file or it is lost") {
  scratch_directory scratch;
  std::string path = scratch / "service";
  copy_file("/bin/sleep", path);
  auto const pinned = pinned_executable::open(path).value();
  auto adopt = [&](std::vector<pid_t> runners, bool is_script = false) {
    return pinned_executable::adopt(path, {}, pinned.identity(), pinned.build_id(), is_script, runners)
        .value();
  };
  CHECK(adopt({}).state() == executable_state::same);
  CHECK(adopt({-1}).descriptor() >= 0);

  pid_t const runner = test::start_child([&] { return ::execl(path.c_str(), "sleep", "1d", nullptr); });
  std::string const link = "/proc/" + std::to_string(runner) + "/exe";
  REQUIRE(comes_true([&] { return std::filesystem::read_symlink(link) == path; }));
  copy_file("/bin/sleep", scratch / "new");
  std::filesystem::rename(scratch / "new", path);
  auto found = adopt({::getpid(), runner});
  CHECK(found.state() == executable_state::replaced);
  CHECK(found.by_descriptor());
  CHECK_FALSE(found.is_lost());

  ::kill(runner, SIGKILL);
  CHECK(test::exit_code_of(runner) == 128 + SIGKILL);
  auto lost = adopt({::getpid(), runner});
  CHECK(lost.is_lost());
  CHECK(lost.state() == executable_state::lost);
  auto script = adopt({}, true);
  CHECK_FALSE(script.is_lost());
  CHECK(script.state() == executable_state::replaced);
  std::filesystem::remove(path);
  CHECK(adopt({}).is_lost());
  CHECK(script.state() == executable_state::missing);
}

TEST_CASE("the build-id is read where there is one") {
  scratch_directory scratch;
  std::string real = build_id_of(describe_process);
  CHECK(real.size() == 40);
  CHECK(real.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(pinned_executable::open(describe_process).value().build_id() == real);

  write_file(scratch / "empty", "", 0755);
  CHECK(build_id_of(scratch / "empty").empty());
  CHECK(build_id_of("/etc/passwd").empty());
}

TEST_CASE("an ELF file whose numbers lie has no build-id") {
  scratch_directory scratch;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  header.e_phoff = sizeof header;
  Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof header + sizeof segment;
  struct {
    Elf64_Nhdr note{4, 20, NT_GNU_BUILD_ID};
    char owner[4] = {'G', 'N', 'U', '\0'};
    char id[20] = {};
  } note;
  segment.p_filesz = sizeof note;
  std::string expected(40, '0');

  SECTION("the honest one") {}
  SECTION("more headers than the file has") { header.e_phoff = ~0ULL, expected.clear(); }
  SECTION("notes beyond the end") { segment.p_offset = 1ULL << 62, expected.clear(); }
  SECTION("notes without end") { segment.p_filesz = ~0ULL, expected.clear(); }
  SECTION("a name longer than the notes") { note.note.n_namesz = 0xFFFFFFFF, expected.clear(); }
  SECTION("an id longer than the notes") { note.note.n_descsz = 0xFFFFFFFF, expected.clear(); }
  SECTION("another owner") { note.owner[0] = 'X', expected.clear(); }

  std::string bytes(reinterpret_cast<char const*>(&header), sizeof header);
  bytes.append(reinterpret_cast<char const*>(&segment), sizeof segment);
  bytes.append(reinterpret_cast<char const*>(&note), sizeof note);
  write_file(scratch / "made", bytes, 0755);
  CHECK(build_id_of(scratch / "made") == expected);
}
