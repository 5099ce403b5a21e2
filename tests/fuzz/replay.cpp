// Runs a fuzz target over its seed corpus without a fuzzer: replay FILE-OR-DIRECTORY...
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

void replay(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  std::string const bytes{std::istreambuf_iterator<char>(in), {}};
  // An exact copy on the heap, as a fuzzer gives it, so that reading one byte too far is seen.
  std::vector<std::uint8_t> const exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int count, char** paths) {
  unsigned replayed = 0;
  for (int i = 1; i < count; ++i) {
    if (!std::filesystem::is_directory(paths[i])) {
      replay(paths[i]);
      ++replayed;
      continue;
    }
    for (auto const& entry : std::filesystem::directory_iterator(paths[i])) {
      replay(entry.path());
      ++replayed;
    }
  }
  std::printf("%u inputs replayed\n", replayed);
  return replayed == 0;
}
