#include "edge_support.hpp"

#include <os/file.hpp>

using namespace handoff;
using namespace handoff::test;

namespace {

constexpr std::size_t enough = 100;

bool exists(std::string const& path) {
  struct stat found;
  return ::lstat(path.c_str(), &found) == 0;
}

}  // namespace

TEST_CASE("a file is appended to, replaced and read", "[file]") {
  scratch_directory scratch;
  std::string path = scratch / "notes";
  CHECK(read_file(path, enough).error().code == std::errc::no_such_file_or_directory);
  REQUIRE(append_to_file(path, "one\n"));
  REQUIRE(append_to_file(path, "two\n"));
  CHECK(read_file(path, enough) == "one\ntwo\n");
  REQUIRE(replace_file(path, "three\n"));
  CHECK(read_file(path, enough) == "three\n");
  CHECK_FALSE(exists(path + ".new"));
  CHECK(read_file(path, 6) == "three\n");
  CHECK_FALSE(read_file(path, 5));
}

TEST_CASE("nothing is written through a symbolic link", "[file]") {
  scratch_directory scratch;
  std::string theirs = scratch / "theirs";
  std::string link = scratch / "ours";
  REQUIRE(append_to_file(theirs, "precious"));

  REQUIRE(::symlink(theirs.c_str(), link.c_str()) == 0);
  CHECK(append_to_file(link, "x").error().code == std::errc::too_many_symbolic_link_levels);
  CHECK(read_file(theirs, enough) == "precious");

  SECTION("replacing puts a file in the place of the link") {
    REQUIRE(replace_file(link, "mine"));
    CHECK(read_file(link, enough) == "mine");
  }
  SECTION("nor through one in the place of the draft, which is then gone") {
    REQUIRE(::symlink(theirs.c_str(), (link + ".new").c_str()) == 0);
    CHECK(replace_file(link, "mine").error().code == std::errc::too_many_symbolic_link_levels);
    CHECK(replace_file(link, "mine"));
  }
  CHECK(read_file(theirs, enough) == "precious");
}

TEST_CASE("a file that cannot be replaced leaves no draft", "[file]") {
  scratch_directory scratch;
  std::string directory = scratch / "directory";
  REQUIRE(::mkdir(directory.c_str(), 0755) == 0);
  auto replaced = replace_file(directory, "mine");
  REQUIRE_FALSE(replaced);
  CHECK(replaced.error().code == std::errc::is_a_directory);
  CHECK_FALSE(exists(directory + ".new"));
}
