// A worker's schedule: when requests begin, when they are overdue, and when all is over.
#include "worker.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace handoff::load {

namespace {

constexpr double second_ns = 1e9;
constexpr std::int64_t retry_pause_ns = 1'000'000;            // for requests that could not be tried
constexpr std::int64_t expiry_interval_max_ns = 100'000'000;  // between looks at the clock of each client
constexpr std::int64_t expiry_interval_min_ns = 1'000'000;

std::int64_t expiry_interval(plan const& p) {
  std::int64_t quarter = std::chrono::nanoseconds(p.timeout).count() / 4;
  return std::clamp(quarter, expiry_interval_min_ns, expiry_interval_max_ns);
}

}  // namespace

worker::worker(plan const& p, share s, window_marks const& marks)
    : plan_(p), share_(s), shared_marks_(marks) {}

worker::~worker() {
  if (has_pattern_) regfree(&pattern_);
}

result<> worker::prepare() {
  epoll_ = unique_fd(epoll_create1(EPOLL_CLOEXEC));
  wake_ = unique_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_) return os_failure("creating the load's descriptors");
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) < 0)
    return os_failure("watching the stop signal");
  for (unsigned i = 0; i < share_.clients; ++i) {
    clients_.push_back(std::make_unique<client>());
    free_.push_back(clients_.back().get());
  }
  return prepare_request();
}

void worker::stop() {
  std::int64_t never = INT64_MAX;
  stop_ns_.compare_exchange_strong(never, monotonic_ns());
  std::uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

std::int64_t worker::planned(std::uint64_t request) const {
  return share_.first_ns + static_cast<std::int64_t>(static_cast<double>(request) / share_.rate * second_ns);
}

std::int64_t worker::end_ns() const { return std::min(stop_ns_.load(), share_.end_ns.value_or(INT64_MAX)); }

// Whether no further request begins.
bool worker::all_begun(std::int64_t now) const {
  return now >= end_ns() || (share_.requests && begun_ >= *share_.requests);
}

void worker::launch(std::int64_t now) {
  if (share_.rate > 0) {
    while (!free_.empty() && !all_begun(now) && planned(begun_) <= now && planned(begun_) < end_ns()) {
      client& c = *free_.back();
      free_.pop_back();
      std::int64_t due = planned(begun_++);
      begin(c, due, now);
    }
    return;
  }
  // One pass only: a client that fails at once must not keep the others from being heard.
  std::vector<client*> ready;
  ready.swap(free_);
  for (client* c : ready) {
    if (all_begun(now)) {
      free_.push_back(c);
    } else {
      ++begun_;
      now = monotonic_ns();
      begin(*c, now, now);
    }
  }
}

void worker::retry_held_back(std::int64_t now) {
  std::vector<client*> waiting;
  waiting.swap(held_back_);
  for (client* c : waiting) {
    if (!c->out_of_own) {
      attempt(*c);
    } else if (now < end_ns()) {
      c->started_ns = now;
      attempt(*c);
    } else {
      std::lock_guard lock(mutex_);
      ++tally_.counts.unsent;
      release(*c, false);
    }
  }
}

void worker::expire(std::int64_t now) {
  if (now < next_expiry_ns_) return;
  next_expiry_ns_ = now + expiry_interval(plan_);
  std::int64_t timeout = std::chrono::nanoseconds(plan_.timeout).count();
  for (auto const& c : clients_) {
    if (c->now == phase::free || now - c->started_ns < timeout) continue;
    switch (c->now) {
      case phase::free:
        break;
      case phase::held_back:
        if (c->out_of_own) break;
        std::erase(held_back_, c.get());
        fail(*c, failure_kind::timeout, "the listen queue stayed full");
        break;
      case phase::sending:
        fail(*c, failure_kind::timeout, "not connected, or the request not taken, in time");
        break;
      case phase::receiving:
        fail(*c, failure_kind::timeout, "no complete reply in time");
        break;
    }
  }
}

std::int64_t worker::sleep_until(std::int64_t now) const {
  std::int64_t until = next_expiry_ns_;
  if (!held_back_.empty()) until = std::min(until, now + retry_pause_ns);
  if (!all_begun(now)) {
    until = std::min(until, end_ns());
    if (!free_.empty()) until = std::min(until, share_.rate > 0 ? planned(begun_) : now);
  }
  return until;
}

// What was due while every client was busy is told, never forgotten: otherwise a stall would hide its own
// cost.
void worker::count_unsent() {
  if (share_.rate == 0) return;
  double seconds = static_cast<double>(std::min(end_ns(), monotonic_ns()) - share_.first_ns) / second_ns;
  auto due = static_cast<std::uint64_t>(std::max(0.0, std::ceil(seconds * share_.rate)));
  if (share_.requests) due = std::min(due, *share_.requests);
  std::lock_guard lock(mutex_);
  if (due > begun_) tally_.counts.unsent += due - begun_;
}

void worker::run() {
  std::array<epoll_event, 256> events;
  for (;;) {
    std::int64_t now = monotonic_ns();
    shared_marks_.refresh(marks_);
    retry_held_back(now);
    launch(now);
    now = monotonic_ns();
    bool ended = all_begun(now) || (share_.rate > 0 && planned(begun_) >= end_ns());
    if (ended && free_.size() == clients_.size()) break;

    std::int64_t left = std::max<std::int64_t>(sleep_until(now) - now, 0);
    timespec timeout{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
    int count = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      auto* c = static_cast<client*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (c != nullptr) {
        on_event(*c);
      } else {
        std::uint64_t told = 0;
        static_cast<void>(::read(wake_.get(), &told, sizeof told));
      }
    }
    expire(monotonic_ns());
  }
  count_unsent();
}

report worker::tell() const {
  std::lock_guard lock(mutex_);
  return tally_;
}

counters worker::look() const {
  std::lock_guard lock(mutex_);
  return tally_.counts;
}

}  // namespace handoff::load
