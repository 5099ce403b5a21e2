// What the server's two halves share: listeners and the loop in server.cpp, connections in
// server_connections.cpp.
#pragma once

#include "connection.hpp"
#include "http_reply.hpp"
#include "server.hpp"

#include <memory>
#include <vector>

namespace handoff {

constexpr std::chrono::milliseconds linger_timeout{1000};

struct listener : event_source {
  listener(unique_fd owned, listener_role r)
      : event_source{source_kind::listener}, fd(std::move(owned)), role(r) {}
  unique_fd fd;
  listener_role role;
};

std::string generation_header(server_settings const&);

struct server::state {
  explicit state(server_settings);

  server_settings settings;
  fixed_reply found, failed, missing, malformed, unsupported, too_large;
  unique_fd counters;
  std::uint64_t pages = 0, failures = 0;
  unique_fd epoll;
  std::vector<std::unique_ptr<listener>> listeners;
  std::vector<std::unique_ptr<connection>> connections;  // all that were ever needed at once
  std::vector<connection*> unused;
  deadline_list waiting;
  deadline_list lingering{linger_timeout};
  std::vector<char> datagram = std::vector<char>(65536);  // the largest there can be
  event_source stop{source_kind::stop};
  moment now = std::chrono::steady_clock::now();
  moment accept_again{};  // while `accepting` is off
  bool accepting = false;
  bool stop_asked = false;
  bool draining = false;

  std::size_t open_connections() const { return connections.size() - unused.size(); }

  // listeners
  result<> watch_listeners(bool on);
  void pause_accepting();
  void on_listener(listener& from);
  void accept_from(listener& from);
  void echo_from(listener& from);
  void start(unique_fd fd);

  // connections
  bool watch(connection& c, std::uint32_t events);
  void finish(connection& c);
  void on_connection(connection& c);
  void on_readable(connection& c);
  void on_writable(connection& c);
  void answer_buffered(connection& c);
  bool answer_one(connection& c);
  void reply(connection& c, fixed_reply const& with, bool keep_alive, bool head_only);
  void reply_metrics(connection& c, bool keep_alive, bool head_only);
  bool flush(connection& c);
  void linger(connection& c);
  void drop_input(connection& c);
  void do_work() const;
  fixed_reply const& page();
  void write_counters() const;

  // the loop
  int sleep_ms() const;
  void expire();
  void drain();
  result<> run(int stop_fd);
};

}  // namespace handoff
