// The server's connections: reading requests, answering them, and parting without loss.
#include "http_request.hpp"
#include "server_state.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>

namespace handoff {

// Registers interest; false when the connection had to be given up.
bool server::state::watch(connection& c, std::uint32_t events) {
  if (c.interest == events) return true;
  epoll_event event{.events = events, .data = {.ptr = static_cast<event_source*>(&c)}};
  int change = c.interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll.get(), change, c.fd.get(), &event) < 0) {
    finish(c);
    return false;
  }
  c.interest = events;
  return true;
}

void server::state::finish(connection& c) {
  if (c.list != nullptr) c.list->take(c);
  c.fd.reset();
  unused.push_back(&c);
  if (!accepting && !draining) accept_again = now;
}

void server::state::on_connection(connection& c) {
  switch (c.phase) {
    case connection_phase::reading:
      return on_readable(c);
    case connection_phase::writing:
      return on_writable(c);
    case connection_phase::lingering:
      return drop_input(c);
  }
}

void server::state::on_readable(connection& c) {
  ssize_t got = recv(c.fd.get(), c.input.data() + c.filled, c.input.size() - c.filled, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    watch(c, EPOLLIN);
    return;
  }
  if (got <= 0) return finish(c);
  // A slow request has its time from its first byte on; further bytes do not prolong it.
  if (c.filled == 0 && c.answered) waiting.put(c, now);
  c.filled += static_cast<std::size_t>(got);
  answer_buffered(c);
}

void server::state::on_writable(connection& c) {
  if (!flush(c)) return;
  waiting.put(c, now);
  answer_buffered(c);
}

// Answers every complete request that was read, then waits for more.
void server::state::answer_buffered(connection& c) {
  std::size_t filled_before = c.filled;
  while (answer_one(c)) {
    if (!flush(c)) return;
  }
  if (c.filled < filled_before) waiting.put(c, now);
  watch(c, EPOLLIN);
}

// Prepares the reply to the first buffered request; false when there is none yet.
bool server::state::answer_one(connection& c) {
  request_head head;
  switch (read_request(std::string_view(c.input.data(), c.filled), head)) {
    case request_form::incomplete:
      if (c.filled < c.input.size()) return false;
      reply(c, too_large, false, false);
      return true;
    case request_form::malformed:
      reply(c, malformed, false, false);
      return true;
    case request_form::unsupported:
      reply(c, unsupported, false, false);
      return true;
    case request_form::complete:
      break;
  }
  bool keep_alive = head.keep_alive && !draining;
  if (head.path == "/metrics") {
    reply_metrics(c, keep_alive, head.head_only);
  } else {
    do_work();
    bool known = head.path == "/" || head.path == "/healthz";
    reply(c, known ? page() : missing, keep_alive, head.head_only);
  }
  std::copy(c.input.begin() + static_cast<std::ptrdiff_t>(head.length),
            c.input.begin() + static_cast<std::ptrdiff_t>(c.filled), c.input.begin());
  c.filled -= head.length;
  // A client that asked to close sends nothing more; one that we send away may be sending already.
  c.linger_after_reply = !keep_alive && (head.keep_alive || c.filled > 0);
  return true;
}

fixed_reply const& server::state::page() {
  ++pages;
  bool fails = settings.fail_every > 0 && pages % settings.fail_every == 0;
  failures += fails;
  write_counters();
  return fails ? failed : found;
}

// Of fixed width, so that a reader never meets half a number of another length.
void server::state::write_counters() const {
  if (!counters) return;
  char text[48];
  int length =
      std::snprintf(text, sizeof text, "%020llu %020llu\n", static_cast<unsigned long long>(failures),
                    static_cast<unsigned long long>(pages));
  // What could not be written is written with the next page.
  [[maybe_unused]] auto written = pwrite(counters.get(), text, static_cast<std::size_t>(length), 0);
}

void server::state::reply(connection& c, fixed_reply const& with, bool keep_alive, bool head_only) {
  c.unsent = with.bytes(keep_alive, head_only);
  c.answered = true;
  c.close_after_reply = !keep_alive;
  c.linger_after_reply = !keep_alive;
}

// In Prometheus's text format; written anew each time, so the connection keeps it.
void server::state::reply_metrics(connection& c, bool keep_alive, bool head_only) {
  std::string text = "# HELP http_requests_total Pages answered.\n# TYPE http_requests_total counter\n";
  text += "http_requests_total{code=\"200\"} " + std::to_string(pages - failures) + "\n";
  if (failures > 0) text += "http_requests_total{code=\"500\"} " + std::to_string(failures) + "\n";
  text += "# TYPE http_connections_open gauge\nhttp_connections_open " + std::to_string(open_connections()) +
          "\n";
  fixed_reply made("200 OK", generation_header(settings), text);
  reply(c, made, keep_alive, head_only);
  c.own_reply = c.unsent;
  c.unsent = c.own_reply;
}

// Sends what is left; true when the connection is ready for the next request.
bool server::state::flush(connection& c) {
  while (!c.unsent.empty()) {
    ssize_t sent = send(c.fd.get(), c.unsent.data(), c.unsent.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      c.unsent.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (c.phase != connection_phase::writing) waiting.put(c, now);
      c.phase = connection_phase::writing;
      watch(c, EPOLLOUT);
      return false;
    } else if (errno != EINTR) {
      finish(c);
      return false;
    }
  }
  c.phase = connection_phase::reading;
  if (!c.close_after_reply) return true;
  if (c.linger_after_reply) {
    linger(c);
  } else {
    finish(c);
  }
  return false;
}

// Closing with unread input would make the kernel send a reset, which can destroy the reply on its way.
void server::state::linger(connection& c) {
  shutdown(c.fd.get(), SHUT_WR);
  c.phase = connection_phase::lingering;
  lingering.put(c, now);
  watch(c, EPOLLIN);
}

void server::state::drop_input(connection& c) {
  ssize_t got = recv(c.fd.get(), c.input.data(), c.input.size(), 0);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) finish(c);
}

void server::state::do_work() const {
  if (settings.work.count() == 0) return;
  moment until = std::chrono::steady_clock::now() + settings.work;
  while (std::chrono::steady_clock::now() < until) continue;
}

}  // namespace handoff
