// Listeners for tests, and what services do to them.
#pragma once

#include "edge_support.hpp"

#include <os/listener.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace handoff::test {

inline listener_settings tcp(std::uint16_t port = 0, std::string host = "127.0.0.1") {
  return {"http", inet_address{std::move(host), port}, socket_type::stream, {}};
}

inline listener_settings udp(std::uint16_t port = 0) {
  return {"dns", inet_address{"127.0.0.1", port}, socket_type::datagram, {}};
}

inline listener_settings local(std::string path, socket_type type = socket_type::stream) {
  return {"local", unix_address{std::move(path)}, type, {}};
}

inline listener_settings adopted_from_systemd(std::string name, socket_type type = socket_type::stream) {
  return {std::move(name), systemd_address{}, type, {}};
}

inline listener open_one(listener_settings settings) {
  auto made = listener::open(std::move(settings));
  INFO((made ? "" : made.error().message()));
  REQUIRE(made);
  return std::move(*made);
}

inline unique_fd client_of(listener const& l) {
  auto address = bound_address(l.fd());
  REQUIRE(address);
  return connect_to(*address, kernel_socket_type(l.settings().type));
}

inline int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &length) == 0);
  return value;
}

inline std::uint32_t backlog_of(int fd) {
  tcp_info information{};
  socklen_t length = sizeof information;
  REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &information, &length) == 0);
  return information.tcpi_sacked;  // of a listening socket: its backlog
}

// What a service does to a socket that it shares with us.
inline void shut_by_a_service(int fd, int how = SHUT_RDWR) {
  REQUIRE(exit_code_of(start_child([=] { return ::shutdown(fd, how); })) == 0);
}

// A process that holds every descriptor of ours until this goes.
struct holding_process {
  unique_fd line;
  pid_t pid = 0;
  holding_process() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    line = unique_fd(ends[1]);
    pid = start_child([&] {
      ::close(ends[1]);
      char nothing;
      return static_cast<int>(::read(ends[0], &nothing, 1));
    });
    ::close(ends[0]);
  }
  ~holding_process() {
    line.reset();
    ::waitpid(pid, nullptr, 0);
  }
};

}  // namespace handoff::test
