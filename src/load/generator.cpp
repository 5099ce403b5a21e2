#include "generator.hpp"

#include "window_marks.hpp"
#include "worker.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace handoff::load {

struct generator::state {
  plan what;
  window_marks marks{"steady"};
  std::vector<std::unique_ptr<worker>> workers;
  std::vector<std::thread> threads;
  std::atomic<unsigned> running = 0;
  std::atomic<std::int64_t> ended_ns = 0;
  std::int64_t started_ns = 0;
  unique_fd done;
  std::mutex known_mutex;
  std::set<std::string, std::less<>> known_versions;  // bounded by report::versions_max for each worker

  // Each worker sees each version for the first time; only the first of them is told.
  void announce_once() {
    auto tell = std::move(what.on_version);
    if (!tell) return;
    what.on_version = [this, tell](std::string_view version, std::int64_t first_ns) {
      std::lock_guard lock(known_mutex);
      if (known_versions.emplace(version).second) tell(version, first_ns);
    };
  }

  void thread_main(worker& one) {
    one.run();
    if (--running > 0) return;
    ended_ns = monotonic_ns();
    std::uint64_t signal = 1;
    static_cast<void>(::write(done.get(), &signal, sizeof signal));
  }

  result<> start_threads() {
    running = static_cast<unsigned>(workers.size());
    for (auto const& one : workers) {
      // The only exception: std::thread has no other way to say that there is none.
      try {
        threads.emplace_back([this, &one] { thread_main(*one); });
      } catch (std::system_error const& e) {
        for (auto const& each : workers) each->stop();
        return failure(error{e.code(), "starting a thread"});
      }
    }
    return {};
  }
};

namespace {

result<> check(plan const& p) {
  if (p.where.length == 0) return plain_failure("the plan has no target");
  if (p.threads == 0 || p.threads > threads_max) return plain_failure("threads must be from 1 to 64");
  if (p.clients < p.threads || p.clients > clients_max) {
    return plain_failure("clients must be from the number of threads to 50000");
  }
  if (p.sources == 0 || p.sources > sources_max) return plain_failure("sources must be from 1 to 250");
  if (p.rate < 0) return plain_failure("the rate must not be negative");
  if (p.timeout.count() <= 0) return plain_failure("the timeout must be positive");
  if (p.path.empty() || p.path.find_first_of(" \r\n") != std::string::npos)
    return plain_failure("the path is malformed");
  return {};
}

// The part of `whole` that falls to worker `i` of `n`.
std::uint64_t part(std::uint64_t whole, unsigned i, unsigned n) {
  return whole / n + (i < whole % n ? 1 : 0);
}

share share_of(plan const& p, unsigned i, std::int64_t now) {
  share out{.index = i,
            .clients = static_cast<unsigned>(part(p.clients, i, p.threads)),
            .rate = p.rate / p.threads};
  // Staggered, so that together they keep the whole's rhythm.
  out.first_ns = now + (p.rate > 0 ? static_cast<std::int64_t>(i / p.rate * 1e9) : 0);
  if (p.duration) out.end_ns = now + p.duration->count();
  if (p.requests) out.requests = part(*p.requests, i, p.threads);
  return out;
}

}  // namespace

generator::generator(std::unique_ptr<state> s) : state_(std::move(s)) {}

generator::~generator() {
  stop();
  for (std::thread& one : state_->threads) {
    if (one.joinable()) one.join();
  }
}

result<std::unique_ptr<generator>> generator::start(plan p) {
  if (auto fine = check(p); !fine) return failure(fine.error());
  auto made = std::make_unique<state>();
  made->what = std::move(p);
  made->announce_once();
  made->done = unique_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made->done) return os_failure("creating the load's descriptors");
  made->started_ns = monotonic_ns();
  for (unsigned i = 0; i < made->what.threads; ++i) {
    share own = share_of(made->what, i, made->started_ns);
    made->workers.push_back(std::make_unique<worker>(made->what, own, made->marks));
    if (auto prepared = made->workers.back()->prepare(); !prepared) return failure(prepared.error());
  }
  // From here on the destructor joins, also when not all threads could be started.
  std::unique_ptr<generator> out(new generator(std::move(made)));
  if (auto started = out->state_->start_threads(); !started) return failure(started.error());
  return out;
}

bool generator::mark(std::string_view window) { return state_->marks.set(window, monotonic_ns()); }

void generator::stop() {
  for (auto const& one : state_->workers) one->stop();
}

int generator::done_fd() const { return state_->done.get(); }

report generator::wait() {
  pollfd done{.fd = done_fd(), .events = POLLIN, .revents = 0};
  while (poll(&done, 1, -1) <= 0) continue;
  return report_so_far();
}

counters generator::look() const {
  counters sum;
  for (auto const& one : state_->workers) sum.add(one->look());
  return sum;
}

report generator::report_so_far() const {
  report all;
  for (auto const& one : state_->workers) all.merge(one->tell());
  all.window_names = state_->marks.names();
  if (all.windows.size() < all.window_names.size()) all.windows.resize(all.window_names.size());
  all.started_ns = state_->started_ns;
  std::int64_t ended = state_->ended_ns;
  all.ended_ns = ended != 0 ? ended : monotonic_ns();
  return all;
}

}  // namespace handoff::load
