#include "server.hpp"

#include "server_state.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace handoff {

namespace {

constexpr int accepts_per_event = 64;    // so that a flood of clients does not starve the ones already here
constexpr int datagrams_per_event = 64;  // likewise
constexpr std::chrono::milliseconds accept_pause{100};  // after running out of descriptors or memory

std::string page_text(server_settings const& s) {
  return "version " + s.version + " generation " + std::to_string(s.generation) + " pid " +
         std::to_string(getpid()) + "\n";
}

}  // namespace

std::string generation_header(server_settings const& s) {
  return "X-Handoff-Generation: " + std::to_string(s.generation);
}

server::state::state(server_settings s)
    : settings(std::move(s)),
      found("200 OK", generation_header(settings), page_text(settings)),
      failed("500 Internal Server Error", generation_header(settings), "failed, as asked\n"),
      missing("404 Not Found", generation_header(settings), "no such page\n"),
      malformed("400 Bad Request", generation_header(settings), "malformed request\n"),
      unsupported("501 Not Implemented", generation_header(settings), "only GET and HEAD, without a body\n"),
      too_large("431 Request Header Fields Too Large", generation_header(settings),
                "request head too large\n"),
      waiting(settings.patience) {}

// ---- listeners

result<> server::state::watch_listeners(bool on) {
  for (auto const& one : listeners) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = static_cast<event_source*>(one.get())}};
    // Not EPOLLEXCLUSIVE: a wake-up given to a process that is just leaving would be lost to its successor.
    if (epoll_ctl(epoll.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, one->fd.get(), &event) < 0) {
      return os_failure("watching a listener");
    }
  }
  accepting = on;
  return {};
}

// Without descriptors or memory an accept loop would spin; clients wait in the queue meanwhile.
void server::state::pause_accepting() {
  if (!accepting) return;
  if (watch_listeners(false)) accept_again = now + accept_pause;
}

void server::state::on_listener(listener& from) {
  if (!accepting) return;
  if (from.role == listener_role::accepts_connections) accept_from(from);
  if (from.role == listener_role::receives_datagrams) echo_from(from);
}

void server::state::accept_from(listener& from) {
  for (int i = 0; i < accepts_per_event; ++i) {
    if (open_connections() >= settings.connections_max) return pause_accepting();
    unique_fd fd(accept4(from.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      start(std::move(fd));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      return pause_accepting();
    } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
      return;  // Empty, or taken by another process that shares this listener.
    }
  }
}

void server::state::echo_from(listener& from) {
  std::string suffix = " generation " + std::to_string(settings.generation);
  for (int i = 0; i < datagrams_per_event; ++i) {
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    auto* address = reinterpret_cast<sockaddr*>(&peer);
    ssize_t got = recvfrom(from.fd.get(), datagram.data(), datagram.size(), MSG_DONTWAIT, address, &length);
    if (got < 0) return;
    do_work();
    std::string answer(datagram.data(), static_cast<std::size_t>(got));
    answer += suffix;
    // A datagram that does not fit into the send buffer is lost, as datagrams are.
    sendto(from.fd.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL, address, length);
  }
}

// The request has often arrived with the connection, so reading first saves registering short ones with
// epoll.
void server::state::start(unique_fd fd) {
  if (unused.empty()) {
    connections.push_back(std::make_unique<connection>());
    unused.push_back(connections.back().get());
  }
  connection& c = *unused.back();
  unused.pop_back();
  c.fd = std::move(fd);
  c.phase = connection_phase::reading;
  c.close_after_reply = c.linger_after_reply = c.answered = false;
  c.interest = 0;
  c.filled = 0;
  c.unsent = {};
  waiting.put(c, now);
  on_readable(c);
}

// ---- the loop

int server::state::sleep_ms() const {
  moment next = moment::max();
  if (connection const* c = waiting.first()) next = std::min(next, c->deadline);
  if (connection const* c = lingering.first()) next = std::min(next, c->deadline);
  if (!accepting && !draining) next = std::min(next, accept_again);
  if (next == moment::max()) return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  return static_cast<int>(std::max<long>(left.count(), 0));
}

void server::state::expire() {
  for (deadline_list* list : {&waiting, &lingering}) {
    while (list->first() != nullptr && list->first()->deadline <= now) finish(*list->first());
  }
  bool room = open_connections() < settings.connections_max;
  if (!accepting && !draining && room && now >= accept_again && !watch_listeners(true)) {
    accept_again = now + accept_pause;
  }
}

void server::state::drain() {
  draining = true;
  if (settings.drain_began) settings.drain_began();
  if (accepting) static_cast<void>(watch_listeners(false));
  listeners.clear();
  for (auto const& owned : connections) {
    connection& c = *owned;
    if (!c.fd || !c.idle()) continue;
    // A request that has arrived by now is answered; otherwise nobody waits for anything here.
    on_readable(c);
    if (c.fd && c.idle()) finish(c);
  }
}

result<> server::state::run(int stop_fd) {
  if (auto watched = watch_listeners(true); !watched) return watched;
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &stop}};
  if (stop_fd >= 0 && epoll_ctl(epoll.get(), EPOLL_CTL_ADD, stop_fd, &event) < 0) {
    return os_failure("watching for the request to drain");
  }
  std::array<epoll_event, 256> events;
  while (!draining || open_connections() > 0) {
    int count = epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), sleep_ms());
    if (count < 0 && errno != EINTR) return os_failure("waiting for events");
    now = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
      auto* source = static_cast<event_source*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (source->kind == source_kind::stop) stop_asked = true;
      if (source->kind == source_kind::listener) on_listener(*static_cast<listener*>(source));
      if (source->kind == source_kind::connection) on_connection(*static_cast<connection*>(source));
    }
    // Only here, because closing other connections or listeners would leave events of this round dangling.
    expire();
    if (stop_asked && !draining) {
      epoll_ctl(epoll.get(), EPOLL_CTL_DEL, stop_fd, nullptr);
      drain();
    }
  }
  return {};
}

// ---- the public side

server::server(std::unique_ptr<state> s) : state_(std::move(s)) {}
server::~server() = default;

result<std::unique_ptr<server>> server::create(server_settings settings,
                                               std::span<served_listener const> listeners) {
  auto made = std::make_unique<state>(std::move(settings));
  made->epoll = unique_fd(epoll_create1(EPOLL_CLOEXEC));
  if (!made->epoll) return os_failure("creating the epoll descriptor");
  if (auto const& file = made->settings.counters_file; !file.empty()) {
    made->counters = unique_fd(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!made->counters) return os_failure("opening " + file);
    made->write_counters();
  }
  for (served_listener const& one : listeners) {
    unique_fd fd(fcntl(one.fd, F_DUPFD_CLOEXEC, 0));
    if (!fd) return os_failure("duplicating a listener");
    if (one.role == listener_role::accepts_connections) {
      // Necessary with several processes at one queue: whoever is too late must not block. It is shared by
      // all.
      int flags = fcntl(fd.get(), F_GETFL);
      if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0)
        return os_failure("making a listener non-blocking");
    }
    made->listeners.push_back(std::make_unique<listener>(std::move(fd), one.role));
  }
  return std::unique_ptr<server>(new server(std::move(made)));
}

result<> server::run(int stop_fd) { return state_->run(stop_fd); }

}  // namespace handoff
