#include "launching.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace handoff::testing {

scratch_directory::scratch_directory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "handoff-test-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
  REQUIRE(::chmod(path_.c_str(), 0755) == 0);
}

scratch_directory::~scratch_directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(std::string const& path, std::string const& content, unsigned mode) {
  {
    std::ofstream out(path, std::ios::trunc | std::ios::binary);
    out << content;
  }
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

void copy_file(std::string const& from, std::string const& to) {
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

}  // namespace handoff::testing
