// handoff-demo-service: a service that does under handoff what a good service does, and on request what a bad
// one does.
#include "server.hpp"

#include <handoff/handoff.h>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace handoff;

struct options {
  std::string version = "unversioned";
  unsigned start_delay_ms = 0;
  unsigned work_us = 0;
  unsigned threads = 1;
  unsigned patience_ms = 15000;
  unsigned connections = 8192;
  unsigned crash_after_ms = 0;
  std::optional<int> fail_start;
  unsigned fail_every = 0;
  unsigned log_every_ms = 0;
  std::string counters;
  bool never_ready = false;
  bool ignore_drain = false;
  std::vector<std::string> bind;
};

int fail(std::string const& what) {
  std::fprintf(stderr, "handoff-demo-service: %s\n", what.c_str());
  return 1;
}

void describe(CLI::App& app, options& o) {
  app.add_option("--version", o.version, "the release's name, shown in every reply");
  app.add_option("--start-delay", o.start_delay_ms, "milliseconds between start and READY");
  app.add_option("--work-us", o.work_us, "microseconds of busy work for each request");
  app.add_option("--threads", o.threads, "threads that serve")->check(CLI::Range(1, 64));
  app.add_option("--patience-ms", o.patience_ms, "how long a client may take for one request");
  app.add_option("--connections", o.connections, "accepted at once by each thread")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--fail-start", o.fail_start, "print a line and exit with this code at once")
      ->check(CLI::Range(0, 255));
  app.add_option("--fail-every", o.fail_every,
                 "answer each n-th page with status 500; /metrics tells how many");
  app.add_option("--log-every-ms", o.log_every_ms,
                 "write a numbered line this often, and how many at the end");
  app.add_option("--counters", o.counters,
                 "keep \"FAILED ALL\" in this file with the generation's number behind its name");
  app.add_flag("--never-ready", o.never_ready, "serve, but never say READY");
  app.add_option("--crash-after-ms", o.crash_after_ms, "abort this long after READY");
  app.add_flag("--ignore-drain", o.ignore_drain, "go on serving after SIGTERM");
  app.add_option("--bind", o.bind, "address to bind when no listener was passed; may be repeated");
}

// The inherited listeners or, standing alone, those of --bind.
result<std::vector<served_listener>> find_listeners(options const& o) {
  std::vector<served_listener> found;
  for (int i = 0; i < handoff_listener_count(); ++i) {
    int kind = handoff_listener_kind(i);
    if (kind == HANDOFF_SEQPACKET) continue;
    found.push_back({handoff_listener_fd(i), kind == HANDOFF_DATAGRAM ? listener_role::receives_datagrams
                                                                      : listener_role::accepts_connections});
  }
  if (!found.empty()) return found;
  for (std::string const& address : o.bind) {
    int fd = handoff_listen("", address.c_str(), 0);
    if (fd < 0) return os_failure("binding " + address, -fd);
    bool datagrams = address.starts_with("udp://");
    found.push_back({fd, datagrams ? listener_role::receives_datagrams : listener_role::accepts_connections});
  }
  if (found.empty()) return plain_failure("no listener was passed, and no --bind was given");
  return found;
}

// As many descriptors as the hard limit grants; beyond them, clients wait in the accept queue.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Waits for the delay, or for the request to drain: true when the service shall start.
bool delay_start(options const& o, int stop_fd) {
  if (o.start_delay_ms == 0) return true;
  pollfd asked{.fd = stop_fd, .events = POLLIN, .revents = 0};
  return poll(&asked, 1, static_cast<int>(o.start_delay_ms)) == 0;
}

void crash_after(unsigned ms) {
  rlimit no_core{};
  setrlimit(RLIMIT_CORE, &no_core);
  std::signal(SIGALRM, [](int) { std::abort(); });
  itimerval timer{};
  timer.it_value = {.tv_sec = ms / 1000, .tv_usec = static_cast<suseconds_t>(ms % 1000) * 1000};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// Writes numbered lines until it is destroyed, and then how many there were.
class log_writer {
 public:
  explicit log_writer(unsigned every_ms)
      : every_(every_ms), thread_([this](std::stop_token const& stop) { write_until(stop); }) {}

 private:
  void write_until(std::stop_token const& stop) const {
    std::mutex alone;
    std::condition_variable_any stopped;
    std::unique_lock lock(alone);
    unsigned lines = 0;
    do dprintf(STDOUT_FILENO, "line %u\n", ++lines);
    while (!stopped.wait_for(lock, stop, every_, [&] { return stop.stop_requested(); }));
    dprintf(STDOUT_FILENO, "%u lines\n", lines);
  }

  std::chrono::milliseconds every_;
  std::jthread thread_;
};

std::string counters_file(options const& o) {
  return o.counters.empty() ? "" : o.counters + "." + std::to_string(handoff_generation());
}

int serve(options const& o, std::vector<served_listener> const& listeners, int stop_fd) {
  raise_descriptor_limit();
  server_settings settings{.version = o.version,
                           .generation = handoff_generation(),
                           .work = std::chrono::microseconds(o.work_us),
                           .connections_max = o.connections,
                           .patience = std::chrono::milliseconds(o.patience_ms),
                           .fail_every = o.fail_every,
                           .counters_file = counters_file(o),
                           .drain_began = [] { handoff_stopping(); }};
  std::vector<std::unique_ptr<server>> servers;
  for (unsigned i = 0; i < o.threads; ++i) {
    auto made = server::create(settings, listeners);
    if (!made) return fail(made.error().message());
    servers.push_back(std::move(*made));
    settings.drain_began = nullptr;  // One of them tells.
  }
  // Each server has duplicates of its own; with these open, a drained process would still hold the listeners.
  for (served_listener const& one : listeners) close(one.fd);

  if (o.ignore_drain) stop_fd = -1;
  if (!delay_start(o, stop_fd)) return 0;
  if (!o.never_ready) handoff_ready();
  if (o.crash_after_ms > 0) crash_after(o.crash_after_ms);

  std::optional<log_writer> log;
  if (o.log_every_ms > 0) log.emplace(o.log_every_ms);

  std::vector<std::thread> others;
  for (unsigned i = 1; i < o.threads; ++i) {
    others.emplace_back([&server = *servers[i], stop_fd] { static_cast<void>(server.run(stop_fd)); });
  }
  auto outcome = servers[0]->run(stop_fd);
  for (std::thread& one : others) one.join();
  return outcome ? 0 : fail(outcome.error().message());
}

}  // namespace

int main(int count, char** arguments) {
  options o;
  CLI::App app("A small HTTP service that shows, and tests, what handoff does.", "handoff-demo-service");
  describe(app, o);
  CLI11_PARSE(app, count, arguments);
  if (o.fail_start) {
    std::fprintf(stderr, "handoff-demo-service: failing at start, as asked\n");
    return *o.fail_start;
  }

  int passed = handoff_init(HANDOFF_UNSET_ENVIRONMENT);
  if (passed < 0) return fail(std::string("taking the listeners over: ") + std::strerror(-passed));
  int stop_fd = handoff_drain_fd(0);
  if (stop_fd < 0) return fail(std::string("preparing to drain: ") + std::strerror(-stop_fd));
  auto listeners = find_listeners(o);
  if (!listeners) return fail(listeners.error().message());
  return serve(o, *listeners, stop_fd);
}
