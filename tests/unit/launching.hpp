// What the tests of launching share: a launcher, processes that are cleaned up, and a wait with a deadline.
#pragma once

#include "paths.hpp"

#include <os/launch.hpp>
#include <os/process.hpp>
#include <wire/launch_spec.hpp>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace handoff::testing {

inline constexpr std::chrono::seconds patience{30};
inline std::string const describe_process = describe_process_path;

// True when `fd` became readable (or ended) in time.
inline bool becomes_readable(int fd) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  int milliseconds = static_cast<int>(std::chrono::milliseconds(patience).count());
  return ::poll(&waiting, 1, milliseconds) == 1;
}

// For what the kernel announces nowhere: asks again until it is so.
inline bool comes_true(std::function<bool()> const& condition) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

struct pipe_pair {
  unique_fd read_end, write_end;
};

inline pipe_pair make_pipe() {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  return {unique_fd(ends[0]), unique_fd(ends[1])};
}

inline int test_launcher() {
  static unique_fd const opened = std::move(open_launcher(launcher_path).value());
  return opened.get();
}

// Killed and reaped when the test ends, however it ends.
struct child {
  process held;
  unique_fd channel;

  child() = default;
  explicit child(launched_process started)
      : held(started.pid, std::move(started.pidfd)), channel(std::move(started.channel)) {}
  child(child&&) = default;
  child& operator=(child&&) = default;
  ~child() {
    if (!held) return;
    (void)held.kill_group();
    if (becomes_readable(held.pidfd())) (void)held.reap();
  }

  launch_report report() const {
    REQUIRE(becomes_readable(channel.get()));
    return read_launch_report(channel.get()).value();
  }
  exit_status end() {
    REQUIRE(becomes_readable(held.pidfd()));
    std::optional<exit_status> status;
    REQUIRE(comes_true([&] { return (status = held.reap().value()).has_value(); }));  // a tracer comes first
    return *status;
  }
};

inline child start(launch_spec spec, launch_descriptors descriptors) {
  spec.listeners = static_cast<std::uint32_t>(descriptors.listeners.size());
  spec.has_executable = descriptors.executable >= 0;
  spec.has_output = descriptors.output >= 0;
  spec.has_cgroup = descriptors.cgroup >= 0;
  auto bytes = encode_launch(spec);
  REQUIRE(bytes);
  auto started = launch(test_launcher(), *bytes, descriptors);
  if (!started) FAIL(started.error().message());
  return child(std::move(*started));
}

inline launch_spec spec_for(std::string const& program, std::vector<std::string> more_arguments = {}) {
  launch_spec spec;
  spec.arguments = {program};
  spec.arguments.insert(spec.arguments.end(), more_arguments.begin(), more_arguments.end());
  spec.executable_path = program;
  return spec;
}

// What describe_process printed: "key value" lines, the last of a key counts.
using facts = std::map<std::string, std::string>;

inline facts read_facts(int output) {
  std::string text;
  std::array<char, 65536> piece;
  while (!text.ends_with("end\n") && becomes_readable(output)) {
    ssize_t size = ::read(output, piece.data(), piece.size());
    if (size <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(size));
  }
  facts found;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string line = text.substr(begin, end - begin);
    std::size_t blank = line.find(' ');
    found[line.substr(0, blank)] = blank == std::string::npos ? "" : line.substr(blank + 1);
  }
  CHECK(found.contains("end"));
  return found;
}

// Launches describe_process and returns what it saw.
inline facts describe(launch_spec const& spec, launch_descriptors descriptors = {}) {
  auto output = make_pipe();
  descriptors.output = output.write_end.get();
  child started = start(spec, descriptors);
  output.write_end.reset();
  launch_report report = started.report();
  if (report.progress != launch_progress::executed) {
    FAIL(describe_launch_failure(report.stage, report.error_number));
  }
  return read_facts(output.read_end.get());
}

inline facts describe(std::function<void(launch_spec&)> const& change) {
  launch_spec spec = spec_for(describe_process);
  change(spec);
  return describe(spec);
}

// A directory of the test's own.
class scratch_directory {
 public:
  scratch_directory();
  ~scratch_directory();
  std::string operator/(std::string const& name) const { return path_ + "/" + name; }
  std::string const& path() const { return path_; }

 private:
  std::string path_;
};

void write_file(std::string const& path, std::string const& content, unsigned mode);
void copy_file(std::string const& from, std::string const& to);

}  // namespace handoff::testing
