#include "second_try.hpp"

#include <os/inheritance.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace handoff {

namespace {

constexpr char const* tries_variable = "HANDOFF_SNAPSHOT_TRIES";
constexpr int most_tries = 100;
constexpr timespec between_tries{0, 100'000'000};

// Waits for room to open one: the loader of shared libraries needs it, and would end us.
unique_fd open_own_program(int& tries) {
  unique_fd program;
  while (!program && tries++ < most_tries) {
    ::nanosleep(&between_tries, nullptr);
    program = unique_fd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  }
  return program;
}

// Where descriptors are few, the copies would be what is missing.
bool is_room_for(std::size_t copies) {
  constexpr rlim_t part = 4;
  rlimit most{};
  return ::getrlimit(RLIMIT_NOFILE, &most) == 0 && copies <= most.rlim_cur / part;
}

}  // namespace

second_try::second_try(unique_fd snapshot, std::span<int const> passed) : snapshot_(std::move(snapshot)) {
  if (char const* before = std::getenv(tries_variable)) tries_ = std::atoi(before);
  ::unsetenv(tries_variable);
  if (!is_room_for(passed.size())) return;
  for (int fd : passed) {
    copies_.emplace_back(fd, ::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (copies_.back().second) continue;
    copies_.clear();
    break;
  }
}

void second_try::begin(char** arguments) {
  if (!is_possible()) return;
  auto program = open_own_program(tries_);
  if (!program) return;
  std::vector<int> passed;
  for (auto const& [number, copy] : copies_) {
    // The number may be another file's by now, which ends with us.
    if (number == program.get()) program = unique_fd(::fcntl(number, F_DUPFD_CLOEXEC, 0));
    if (::dup3(copy.get(), number, O_CLOEXEC) < 0) return;
    passed.push_back(number);
  }
  std::vector<std::string> words;
  for (char** word = arguments; *word != nullptr; ++word) words.emplace_back(*word);
  std::vector<std::string> environment{std::string(snapshot_variable) + "=" + std::to_string(snapshot_.get()),
                                       std::string(tries_variable) + "=" + std::to_string(tries_)};
  for (char** variable = environ; *variable != nullptr; ++variable) environment.emplace_back(*variable);
  (void)become(program.get(), words, environment, passed);
}

}  // namespace handoff
