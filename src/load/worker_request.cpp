// One request of a worker: from the socket to the verdict.
#include "worker.hpp"

#include <base/text.hpp>

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace handoff::load {

namespace {

constexpr std::uint32_t loopback_net = 127;
constexpr std::uint32_t first_source = 0x7F000002;  // 127.0.0.2
constexpr std::size_t note_max = 200;

bool is_own_shortage(int error_number) {
  return error_number == EADDRNOTAVAIL || error_number == EADDRINUSE || error_number == EMFILE ||
         error_number == ENFILE || error_number == ENOBUFS || error_number == ENOMEM;
}

failure_kind kind_of(int error_number) {
  switch (error_number) {
    case ECONNREFUSED:
    case ENOENT:
      return failure_kind::refused;  // ENOENT: a Unix path that is not there
    case ECONNRESET:
    case EPIPE:
      return failure_kind::reset;
    case ETIMEDOUT:
      return failure_kind::timeout;
    default:
      return failure_kind::other;
  }
}

}  // namespace

result<> worker::prepare_request() {
  request_ = "GET " + plan_.path + " HTTP/1.1\r\nHost: " + plan_.where.host +
             "\r\nUser-Agent: handoff-load\r\nConnection: " + (plan_.keep_alive ? "keep-alive" : "close") +
             "\r\n\r\n";
  if (plan_.version_pattern.empty()) return {};
  if (regcomp(&pattern_, plan_.version_pattern.c_str(), REG_EXTENDED) != 0) {
    return plain_failure("the version pattern is not a regular expression");
  }
  has_pattern_ = true;
  return {};
}

void worker::begin(client& c, std::int64_t planned_ns, std::int64_t now) {
  c.planned_ns = planned_ns;
  c.started_ns = now;
  c.reused = static_cast<bool>(c.fd);
  if (plan_.where.how == transport::udp) {
    c.datagram = "handoff-load " + std::to_string(getpid()) + "." + std::to_string(share_.index) + "." +
                 std::to_string(++c.sequence) + ";";
  }
  attempt(c);
}

void worker::attempt(client& c) {
  if (!c.fd && !open(c)) return;
  c.reply.start(!plan_.expect.empty() || has_pattern_);
  c.unsent = plan_.where.how == transport::udp ? c.datagram : request_;
  c.now = phase::sending;
  write(c);
}

// Ephemeral ports are counted for each source address, so several sources make as many times more
// connections.
bool worker::bind_source(client& c) {
  target const& to = plan_.where;
  if (plan_.sources <= 1 || !to.ipv4()) return true;
  auto const& there = reinterpret_cast<sockaddr_in const&>(to.address);
  if (ntohl(there.sin_addr.s_addr) >> 24 != loopback_net) return true;
  int on = 1;
  setsockopt(c.fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(first_source + static_cast<std::uint32_t>(connections_++ % plan_.sources));
  return bind(c.fd.get(), reinterpret_cast<sockaddr*>(&source), sizeof source) == 0;
}

// Opens and connects; false when the request has ended or is held back instead.
bool worker::open(client& c) {
  target const& to = plan_.where;
  int type = to.how == transport::udp ? SOCK_DGRAM : SOCK_STREAM;
  c.reused = false;
  c.interest = 0;
  c.fd = unique_fd(socket(to.address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  bool connected = c.fd && bind_source(c) &&
                   connect(c.fd.get(), reinterpret_cast<sockaddr const*>(&to.address), to.length) == 0;
  if (connected || (c.fd && errno == EINPROGRESS)) return true;
  int saved = errno;
  c.fd.reset();
  if (is_own_shortage(saved)) {
    hold_back(c, true);
  } else if (saved == EAGAIN) {  // Unix sockets say so where TCP would let the client wait in the queue.
    hold_back(c, false);
  } else {
    connection_broke(c, saved, "connecting");
  }
  return false;
}

bool worker::watch(client& c, std::uint32_t events) {
  if (c.interest == events) return true;
  epoll_event event{.events = events, .data = {.ptr = &c}};
  int change = c.interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll_.get(), change, c.fd.get(), &event) < 0) {
    connection_broke(c, errno, "watching the connection");
    return false;
  }
  c.interest = events;
  return true;
}

void worker::on_event(client& c) {
  switch (c.now) {
    case phase::free:  // The server closed a kept connection between two requests.
      c.fd.reset();
      return;
    case phase::held_back:
      return;
    case phase::sending:
      return write(c);
    case phase::receiving:
      return plan_.where.how == transport::udp ? read_datagrams(c) : read_stream(c);
  }
}

void worker::write(client& c) {
  while (!c.unsent.empty()) {
    // Tried at once although the connection may still be under way: on loopback it mostly is not.
    ssize_t sent = send(c.fd.get(), c.unsent.data(), c.unsent.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      c.unsent.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EINPROGRESS) {
      watch(c, EPOLLOUT);
      return;
    } else if (errno != EINTR) {
      return connection_broke(c, errno, "sending the request");
    }
  }
  c.now = phase::receiving;
  watch(c, EPOLLIN);
}

void worker::read_stream(client& c) {
  for (;;) {
    ssize_t got = recv(c.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (got == 0) return connection_ended(c);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return;
      return connection_broke(c, errno, "reading the reply");
    }
    switch (c.reply.take({buffer_.data(), static_cast<std::size_t>(got)})) {
      case reply_reader::progress::complete:
        return reply_complete(c);
      case reply_reader::progress::malformed:
        return fail(c, failure_kind::wrong, "not an HTTP/1 reply");
      case reply_reader::progress::more:
        break;
    }
    if (static_cast<std::size_t>(got) < buffer_.size()) return;
  }
}

void worker::read_datagrams(client& c) {
  for (;;) {
    ssize_t got = recv(c.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return;
      return connection_broke(c, errno, "waiting for the echo");
    }
    std::string_view text(buffer_.data(), static_cast<std::size_t>(got));
    if (!text.starts_with(c.datagram)) continue;  // the late echo of one that counts as lost
    if (text.find(plan_.expect) == std::string_view::npos) {
      return fail(c, failure_kind::wrong, "the echo lacks the expected text");
    }
    return succeed(c, version_in(text.substr(c.datagram.size())), true);
  }
}

void worker::reply_complete(client& c) {
  auto version = version_of(c);
  if (c.reply.status() != 200)
    return fail(c, failure_kind::wrong, "status " + std::to_string(c.reply.status()), version);
  if (c.reply.body().find(plan_.expect) == std::string_view::npos) {
    return fail(c, failure_kind::wrong, "the body lacks the expected text", version);
  }
  succeed(c, version, !c.reply.server_closes());
}

void worker::connection_ended(client& c) {
  if (c.reply.complete_at_end()) return reply_complete(c);
  if (c.reply.untouched() && retry_on_new_connection(c)) return;
  fail(c, failure_kind::short_reply,
       c.reply.untouched() ? "closed without a reply" : "closed before the reply was complete");
}

void worker::connection_broke(client& c, int error_number, std::string_view doing) {
  // On Linux, connecting can also run out of ports this late.
  if (is_own_shortage(error_number)) {
    c.fd.reset();
    return hold_back(c, true);
  }
  failure_kind kind = kind_of(error_number);
  if (kind == failure_kind::reset && c.reply.untouched() && retry_on_new_connection(c)) return;
  fail(c, kind, std::string(doing) + ": " + std::strerror(error_number));
}

// A server may close a kept connection at any time between requests; a client then asks again (RFC
// 9112, 9.3.1).
bool worker::retry_on_new_connection(client& c) {
  if (!c.reused || plan_.where.how == transport::udp) return false;
  {
    std::lock_guard lock(mutex_);
    ++tally_.counts.retried;
  }
  c.fd.reset();
  attempt(c);
  return true;
}

void worker::hold_back(client& c, bool own) {
  c.now = phase::held_back;
  c.out_of_own = own;
  held_back_.push_back(&c);
  if (!own) return;
  std::lock_guard lock(mutex_);
  ++tally_.counts.own;
}

void worker::succeed(client& c, std::string_view version, bool keep_connection) {
  std::int64_t now = monotonic_ns();
  bool is_new = false;
  {
    std::lock_guard lock(mutex_);
    tally_.succeeded(window_marks::window_at(marks_, c.planned_ns), now - c.planned_ns);
    is_new = !version.empty() && tally_.saw(printable(version, note_max), now);
  }
  if (is_new && plan_.on_version) plan_.on_version(printable(version, note_max), now);
  release(c, keep_connection && plan_.keep_alive);
}

void worker::fail(client& c, failure_kind kind, std::string_view what, std::string_view version) {
  std::int64_t now = monotonic_ns();
  bool is_new = false;
  {
    std::lock_guard lock(mutex_);
    tally_.failed(window_marks::window_at(marks_, c.planned_ns), {now, kind, printable(what, note_max)});
    is_new = !version.empty() && tally_.saw(printable(version, note_max), now, false);
  }
  if (is_new && plan_.on_version) plan_.on_version(printable(version, note_max), now);
  release(c, false);
}

void worker::release(client& c, bool keep_connection) {
  if (!keep_connection) c.fd.reset();
  c.now = phase::free;
  free_.push_back(&c);
}

std::string_view worker::version_of(client const& c) const {
  return has_pattern_ ? version_in(c.reply.body()) : c.reply.header(plan_.version_header);
}

std::string_view worker::version_in(std::string_view text) const {
  if (!has_pattern_) return {};
  regmatch_t groups[2];
  groups[0] = {.rm_so = 0, .rm_eo = static_cast<regoff_t>(text.size())};
  if (regexec(&pattern_, text.data(), 2, groups, REG_STARTEND) != 0) return {};
  regmatch_t const& match = groups[groups[1].rm_so >= 0 ? 1 : 0];
  return text.substr(static_cast<std::size_t>(match.rm_so),
                     static_cast<std::size_t>(match.rm_eo - match.rm_so));
}

}  // namespace handoff::load
