// A small HTTP/1.1 server over inherited listeners: one thread, one epoll, bounded memory.
//
// It shows what the page for service authors asks for. Listeners leave epoll before they are closed and are
// never shut down, because other processes hold them too; accepted connections are finished; idle ones are
// closed.
#pragma once

#include <base/error.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace handoff {

enum class listener_role { accepts_connections, receives_datagrams };

struct served_listener {
  int fd = -1;  // duplicated by the server, so the caller's stays the caller's
  listener_role role = listener_role::accepts_connections;
};

struct server_settings {
  std::string version;                 // shown in the body
  unsigned generation = 0;             // shown in the body and in X-Handoff-Generation
  std::chrono::microseconds work{};    // busy work for each request
  std::size_t connections_max = 8192;  // beyond it, new ones wait in the accept queue
  // How long a client may take for each of: a request, its next request, reading a reply.
  std::chrono::milliseconds patience{15000};
  unsigned fail_every = 0;            // each n-th page fails with status 500; 0: none
  std::string counters_file;          // keeps "FAILED ALL", of the pages; empty: nowhere
  std::function<void()> drain_began;  // called once, when the server was asked to stop
};

class server {
 public:
  static result<std::unique_ptr<server>> create(server_settings, std::span<served_listener const>);
  ~server();
  server(server const&) = delete;
  server& operator=(server const&) = delete;

  // Serves until `stop_fd` is readable, then drains: closes the listeners, finishes what was accepted,
  // returns. A negative `stop_fd` means for ever. `stop_fd` is watched, never read.
  result<> run(int stop_fd);

 private:
  struct state;
  explicit server(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace handoff
