#include "hangup_watch.hpp"

#include <sys/epoll.h>

#include <array>

namespace handoff {

namespace {

constexpr int events_a_look = 32;

}  // namespace

hangup_watch::hangup_watch(unique_fd epoll, hangup which, std::function<void(std::uint64_t)> hung_up)
    : epoll_(std::move(epoll)), which_(which), hung_up_(std::move(hung_up)) {}

result<std::unique_ptr<hangup_watch>> hangup_watch::create(loop& on, hangup which,
                                                           std::function<void(std::uint64_t)> hung_up) {
  unique_fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return os_failure("creating an epoll descriptor");
  std::unique_ptr<hangup_watch> made(new hangup_watch(std::move(epoll), which, std::move(hung_up)));
  auto watching =
      on.on_fd(made->epoll_.get(), readiness_of_fd::readable, [raw = made.get()] { raw->look(); });
  if (!watching) return std::unexpected(std::move(watching).error());
  made->loop_watch_ = std::move(*watching);
  return made;
}

hangup_watch::~hangup_watch() = default;

result<> hangup_watch::watch(std::uint64_t key, int fd) {
  forget(key);
  epoll_event wanted{};
  if (which_ == hangup::reading_too) wanted.events = EPOLLRDHUP;
  if (which_ == hangup::arrival_too) wanted.events = EPOLLIN;
  wanted.data.u64 = key;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted) < 0) return os_failure("watching for a hang-up");
  watched_.emplace(key, fd);
  return {};
}

void hangup_watch::forget(std::uint64_t key) {
  auto known = watched_.find(key);
  if (known == watched_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, known->second, nullptr);
  watched_.erase(known);
}

void hangup_watch::look() {
  std::array<epoll_event, events_a_look> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), events_a_look, 0);
  for (int i = 0; i < count; ++i) {
    std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
    if (!watched_.contains(key)) continue;  // forgotten by the call before
    forget(key);
    hung_up_(key);
  }
}

}  // namespace handoff
