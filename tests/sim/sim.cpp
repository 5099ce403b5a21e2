// sim [--seeds N] [--first S]   lives through N seeds from S on
// sim --seed S                  replays one, telling what happened
#include "world.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace handoff::sim;

namespace {

int replay(std::uint64_t seed) {
  std::vector<std::string> history;
  std::string broken = live_through(seed, &history);
  for (auto const& line : history) std::puts(line.c_str());
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed),
              broken.empty() ? "every promise held" : broken.c_str());
  return broken.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  std::uint64_t first = 1, seeds = 1'000'000;
  for (int i = 1; i + 1 < count; i += 2) {
    std::uint64_t value = std::strtoull(arguments[i + 1], nullptr, 10);
    if (std::strcmp(arguments[i], "--seed") == 0) return replay(value);
    if (std::strcmp(arguments[i], "--first") == 0) first = value;
    if (std::strcmp(arguments[i], "--seeds") == 0) seeds = value;
  }
  auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    std::string broken = live_through(seed, nullptr);
    if (broken.empty()) continue;
    replay(seed);
    std::printf("replay: %s --seed %llu\n", arguments[0], static_cast<unsigned long long>(seed));
    return 1;
  }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%llu seeds in %.1f s, %.0f a minute: every promise held\n",
              static_cast<unsigned long long>(seeds), took.count(),
              static_cast<double>(seeds) / took.count() * 60);
}
