// handoff-load: puts load on a service and verifies every reply. One JSON object on stdout at the end.
//
// "mark NAME" on a line of stdin starts the latency window NAME.
#include <base/unique_fd.hpp>
#include <load/generator.hpp>
#include <load/report_json.hpp>

#include <CLI/CLI.hpp>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>

namespace {

using namespace handoff;
using json = nlohmann::ordered_json;

constexpr std::size_t line_max = 256;
constexpr std::int64_t progress_interval_ns = 1'000'000'000;

struct options {
  std::string target;
  double duration_s = 0;
  std::uint64_t requests = 0;
  unsigned timeout_ms = 5000;
  bool events = false;
  load::plan plan;
};

void describe(CLI::App& app, options& o) {
  app.add_option("target", o.target, "host:port, [v6]:port, unix:/path, unix:@name or udp://host:port")
      ->required();
  app.add_option("--path", o.plan.path, "what to GET");
  app.add_option("-c,--clients", o.plan.clients, "requests in flight at most");
  app.add_option("--threads", o.plan.threads, "threads");
  app.add_option("--rate", o.plan.rate,
                 "requests a second at planned times; without it, as fast as the clients can");
  app.add_flag("--keep-alive", o.plan.keep_alive, "keep connections (for UDP: the source port)");
  app.add_option("--sources", o.plan.sources, "source addresses from 127.0.0.2 on, for a target in 127/8");
  app.add_option("--timeout-ms", o.timeout_ms, "for one request");
  app.add_option("-d,--duration", o.duration_s, "seconds; 0: until --requests or a signal");
  app.add_option("-n,--requests", o.requests, "how many; 0: no limit");
  app.add_option("--expect", o.plan.expect, "text that every reply must contain");
  app.add_option("--version-header", o.plan.version_header, "the reply header that tells the version");
  app.add_option("--version-pattern", o.plan.version_pattern,
                 "extended regular expression; its group in the body is the version");
  app.add_flag("--events", o.events,
               "also print the start, versions as they appear, and progress each second");
}

// One line a write, from any thread, so that a reader of the pipe never sees half a line.
void print_line(json const& what) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::string line = what.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

// The marks on stdin.
class mark_reader {
 public:
  // False at the end of the input.
  bool read(load::generator& run, bool tell) {
    std::array<char, line_max> bytes;
    ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (got <= 0) return got < 0 && errno == EINTR;
    for (char c : std::string_view(bytes.data(), static_cast<std::size_t>(got))) {
      if (c == '\n') {
        take(run, tell);
        line_.clear();
      } else if (line_.size() < line_max) {
        line_ += c;
      }
    }
    return true;
  }

 private:
  void take(load::generator& run, bool tell) {
    constexpr std::string_view word = "mark ";
    if (!line_.starts_with(word) || line_.size() == word.size()) return;
    std::string name = line_.substr(word.size());
    bool marked = run.mark(name);
    if (tell)
      print_line(
          {{"event", "mark"}, {"window", name}, {"accepted", marked}, {"at_ns", load::monotonic_ns()}});
  }

  std::string line_;
};

void print_progress(load::generator const& run) {
  json line = {{"event", "progress"}, {"at_ns", load::monotonic_ns()}};
  line.update(load::to_json(run.look()));
  print_line(line);
}

// Until the run is over: signals stop it, stdin marks it.
void attend(load::generator& run, int signals, bool events) {
  mark_reader marks;
  std::array<pollfd, 3> watched = {
      {{run.done_fd(), POLLIN, 0}, {signals, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  std::int64_t next_progress = load::monotonic_ns() + progress_interval_ns;
  while (watched[0].revents == 0) {
    std::int64_t left = std::max<std::int64_t>(next_progress - load::monotonic_ns(), 0);
    int timeout = events ? static_cast<int>(left / 1'000'000 + 1) : -1;
    poll(watched.data(), watched.size(), timeout);
    if (watched[1].revents != 0) {
      signalfd_siginfo ignored;
      static_cast<void>(read(signals, &ignored, sizeof ignored));
      run.stop();
    }
    if (watched[2].revents != 0 && !marks.read(run, events)) watched[2].fd = -1;
    if (events && load::monotonic_ns() >= next_progress) {
      next_progress += progress_interval_ns;
      print_progress(run);
    }
  }
}

// Blocked before any thread starts, so that they all inherit it.
unique_fd catch_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return unique_fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int fail(std::string const& what) {
  std::fprintf(stderr, "handoff-load: %s\n", what.c_str());
  return 2;
}

}  // namespace

// Exit codes: 0 every request succeeded, 1 some failed, 2 the run could not be made.
int main(int count, char** arguments) {
  options o;
  CLI::App app("Puts load on a service and verifies every reply.", "handoff-load");
  describe(app, o);
  CLI11_PARSE(app, count, arguments);

  auto where = load::parse_target(o.target);
  if (!where) return fail(where.error().message());
  o.plan.where = *where;
  o.plan.timeout = std::chrono::milliseconds(o.timeout_ms);
  if (o.duration_s > 0)
    o.plan.duration = std::chrono::nanoseconds(static_cast<std::int64_t>(o.duration_s * 1e9));
  if (o.requests > 0) o.plan.requests = o.requests;
  if (o.events) {
    o.plan.on_version = [](std::string_view version, std::int64_t first_ns) {
      print_line({{"event", "version"}, {"version", version}, {"first_ns", first_ns}});
    };
  }
  unique_fd signals = catch_stop_signals();
  if (!signals) return fail("cannot watch for signals");
  auto run = load::generator::start(std::move(o.plan));
  if (!run) return fail(run.error().message());
  if (o.events) print_line({{"event", "started"}, {"at_ns", load::monotonic_ns()}});
  attend(**run, signals.get(), o.events);
  load::report all = (*run)->wait();
  print_line(load::to_json(all));
  return all.counts.failed == 0 ? 0 : 1;
}
