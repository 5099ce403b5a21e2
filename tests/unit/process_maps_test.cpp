#include <wire/process_maps.hpp>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <fstream>
#include <sstream>

using namespace handoff;

namespace {

std::string const library =
    "7f459e140000-7f459e143000 r-xp 00001000 fe:0a 21656                      /usr/lib/libfoo.so.1.2";

mapping read(std::string_view line) {
  mapping m;
  REQUIRE(read_mapping(line, m));
  return m;
}

}  // namespace

TEST_CASE("a line of maps is read") {
  mapping m = read(library);
  CHECK(m.begin == 0x7f459e140000);
  CHECK(m.end == 0x7f459e143000);
  CHECK(m.executable);
  CHECK(m.file == mapped_identity{0xfe, 0xa, 21656});
  CHECK(m.path == "/usr/lib/libfoo.so.1.2");
  CHECK_FALSE(m.deleted);
}

TEST_CASE("the name in a line of maps may be anything") {
  std::string const before = "1000-2000 r-xp 00000000 fe:00 7 ";
  auto [says, name, path, deleted] = GENERATE(table<char const*, std::string, std::string, bool>({
      {"a deleted file is marked", "/a/b.so (deleted)", "/a/b.so", true},
      {"the mark counts once", "/a (deleted) (deleted)", "/a (deleted)", true},
      {"the mark counts at the end", "/a (deleted)/b.so", "/a (deleted)/b.so", false},
      {"blanks stay", "/a b  c", "/a b  c", false},
      {"a line end is unescaped", "/a\\012b", "/a\nb", false},
      {"other escapes are none", "/a\\040b\\", "/a\\040b\\", false},
      {"no name", "", "", false},
  }));
  CAPTURE(says);
  mapping m = read(before + name);
  CHECK(m.path == path);
  CHECK(m.deleted == deleted);
}

TEST_CASE("a line of maps that makes no sense is none") {
  mapping m;
  for (char const* line :
       {"", "1000", "1000-2000", "1000-2000 r-xp", "1000-2000 r-xp 0 fe:00", "2000-1000 r-xp 0 fe:00 7 /a",
        "1000-2000 r-x 0 fe:00 7 /a", "1000-2000 r-xp 0 fe00 7 /a", "1000-2000 r-xp 0 fe:00 7a /a",
        "1000-2000 r-xp 0 fe:00 -7 /a", "1000-10000000000000000 r-xp 0 fe:00 7 /a"}) {
    CAPTURE(line);
    CHECK_FALSE(read_mapping(line, m));
  }
  CHECK(m == mapping{});
}

TEST_CASE("code is what can be executed and has a file, once each") {
  auto code = read_code_mappings(
      "1000-2000 r--p 0 fe:00 7 /usr/bin/web\n"
      "2000-3000 r-xp 0 fe:00 7 /usr/bin/web\n"
      "3000-4000 r-xp 0 fe:00 7 /usr/bin/web\n"
      "4000-5000 rw-p 0 00:00 0 [heap]\n"
      "5000-6000 r-xp 0 00:00 0 [vdso]\n"
      "6000-7000 rwxp 0 00:00 0 \n"
      "7000-8000 rwxp 0 00:01 9 /memfd:jit (deleted)\n"
      "8000-9000 rwxs 0 00:01 9 /SYSV00000000 (deleted)\n"
      "9000-a000 rwxs 0 00:05 9 /dev/zero (deleted)\n"
      "nonsense\n"
      "a000-b000 r-xp 0 fe:00 8 /usr/lib/libfoo.so.1 (deleted)\n"
      "b000-c000 r-xp 0 fe:00 9 /usr/lib/libfoo.so.1");
  REQUIRE(code.size() == 3);
  CHECK(code[0].path == "/usr/bin/web");
  CHECK(code[0].begin == 0x2000);
  CHECK(code[1].deleted);
  CHECK(code[2].file.inode == 9);
}

TEST_CASE("what is mapped at an address is found in our own maps") {
  std::ifstream file("/proc/self/maps");
  std::stringstream text;
  text << file.rdbuf();
  auto address = reinterpret_cast<std::uintptr_t>(&::getpid);
  CHECK(find_mapped(text.str(), address).inode != 0);
  CHECK(find_mapped(text.str(), 1).inode == 0);
  std::string path(4096, '\0');
  path.resize(static_cast<std::size_t>(::readlink("/proc/self/exe", path.data(), path.size())));
  bool listed = false;
  for (auto const& m : read_code_mappings(text.str())) listed = listed || m.path == path;
  CHECK(listed);
}
