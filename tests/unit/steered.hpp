// Steered listeners for tests, and clients that come from where a test wants.
#pragma once

#include "listeners.hpp"

#include <os/classic_listener.hpp>
#include <os/listening.hpp>
#include <os/steered_listener.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>

namespace handoff::test {

constexpr generation_number g1{1}, g2{2}, g3{3};

// For the first line of a test that needs the program. Whoever may load it says HANDOFF_TEST_STEERING=1, so
// that one that the kernel refuses is no reason to skip.
inline bool steering_works() {
  if (can_steer().works) return true;
  char const* demanded = std::getenv("HANDOFF_TEST_STEERING");
  if (demanded != nullptr && *demanded != '\0') FAIL(can_steer().why_not);
  WARN("skipped: " << can_steer().why_not);
  return false;
}

inline sockaddr_in const* four(socket_address const& address) {
  return reinterpret_cast<sockaddr_in const*>(&address.storage);
}

inline std::uint16_t free_port(socket_type type = socket_type::stream) {
  unique_fd taken(::socket(AF_INET, kernel_socket_type(type) | SOCK_CLOEXEC, 0));
  REQUIRE(taken);
  auto any = address_of(tcp());
  REQUIRE(::bind(taken.get(), any->get(), any->length) == 0);
  return ntohs(four(*bound_address(taken.get()))->sin_port);
}

inline listener_settings steered_tcp(std::string host = "127.0.0.1") {
  return tcp(free_port(), std::move(host));
}
inline listener_settings steered_udp() { return udp(free_port(socket_type::datagram)); }

inline std::unique_ptr<steered_listener> open_steered(listener_settings settings, std::uint32_t seed = 7,
                                                      steering_method method = steering_method::ebpf) {
  auto made = steered_listener::open(std::move(settings), seed, method);
  INFO((made ? "" : made.error().message()));
  REQUIRE(made);
  return std::move(*made);
}

template <class T>
void require(result<T> const& done) {
  INFO((done ? "" : done.error().message()));
  REQUIRE(done);
}

// Opens the group with these generations, the first of them with all the traffic.
inline std::unique_ptr<steered_listener> open_steered(listener_settings settings,
                                                      std::vector<generation_number> const& who,
                                                      steering_method method = steering_method::ebpf) {
  auto made = open_steered(std::move(settings), 7, method);
  for (auto generation : who) require(made->add(generation));
  require(made->apply({who[0], {{who[0], full_weight}}, {}, false}));
  return made;
}

inline network net(std::array<std::uint8_t, 4> four_bytes, std::uint8_t prefix) {
  network made{.prefix = static_cast<std::uint8_t>(prefix + 96)};
  made.address[10] = made.address[11] = 0xff;
  std::copy(four_bytes.begin(), four_bytes.end(), made.address.begin() + 12);
  return made;
}

inline network six_loopback() {
  network made{.prefix = 128};
  made.address[15] = 1;
  return made;
}

// All but `part` for g1, which is also the fallback.
inline traffic_split canary(std::uint32_t part, bool sticky = false) {
  return {g1, {{g1, weight{10'000 - part}}, {g2, weight{part}}}, {}, sticky};
}

inline bool eventually(auto holds) {
  auto late = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > late) return false;
    ::sched_yield();
  }
  return true;
}

// A client at this address and port (0: any), connected to the listener.
inline unique_fd client_at(std::string const& host, steered_listener const& to, std::uint16_t port = 0) {
  auto source = address_of(tcp(port, host));
  REQUIRE(source);
  int type = kernel_socket_type(to.settings().type) | SOCK_CLOEXEC;
  unique_fd client(::socket(source->family(), type, 0));
  int on = 1;
  // Of TCP for ports in TIME_WAIT; of UDP it would give two clients one port.
  bool tcp_client = to.settings().type == socket_type::stream;
  if (tcp_client) REQUIRE(::setsockopt(client.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  REQUIRE(::bind(client.get(), source->get(), source->length) == 0);
  auto const& wanted = std::get<inet_address>(to.settings().address);
  bool any = wanted.host == "::" || wanted.host == "0.0.0.0";
  std::string loopback = source->family() == AF_INET6 ? "::1" : "127.0.0.1";
  auto target = address_of(tcp(wanted.port, any ? loopback : wanted.host));
  REQUIRE(::connect(client.get(), target->get(), target->length) == 0);
  return client;
}

inline std::vector<unique_fd> clients(std::size_t count, steered_listener const& to,
                                      std::string const& host = "127.0.0.1") {
  std::vector<unique_fd> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back(client_at(host, to));
  return made;
}

inline std::uint32_t waiting(steered_listener const& l, generation_number who) {
  return l.queued(who).value_or(0);
}

inline void say(std::vector<unique_fd> const& clients) {
  for (auto const& client : clients) REQUIRE(::send(client.get(), "x", 1, 0) == 1);
}

inline int read_all(int fd) {
  int count = 0;
  char byte;
  while (::recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) ++count;
  return count;
}

// A connection that its client counts as made may still be on its way into the queue.
inline bool comes_to(steered_listener const& l, generation_number who, std::uint32_t count) {
  bool came = eventually([&] { return waiting(l, who) >= count; });
  CHECK(waiting(l, who) == count);
  return came && waiting(l, who) == count;
}

inline bool is_ready(int fd, int milliseconds = 0) {
  pollfd look{fd, POLLIN, 0};
  return ::poll(&look, 1, milliseconds) == 1;
}

// Takes what waits; each client's IPv4 address as text, and how often it came.
inline std::map<std::string, int> accept_all(int fd) {
  std::map<std::string, int> came;
  while (is_ready(fd)) {
    socket_address peer;
    peer.length = sizeof peer.storage;
    unique_fd connection(::accept4(fd, peer.get(), &peer.length, SOCK_CLOEXEC));
    REQUIRE(connection);
    came[::inet_ntoa(four(peer)->sin_addr)]++;
  }
  return came;
}

inline int total(std::map<std::string, int> const& came) {
  int sum = 0;
  for (auto const& [host, count] : came) sum += count;
  return sum;
}

// Answers every connection that waits, and finds out that the clients hear it.
inline void serve_all(int listening, std::vector<unique_fd> const& clients) {
  for (std::size_t i = 0; i < clients.size(); ++i) {
    REQUIRE(is_ready(listening, 10'000));
    unique_fd connection(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(::send(connection.get(), "x", 1, MSG_NOSIGNAL) == 1);
  }
  char answer = 0;
  for (auto const& client : clients) CHECK(::recv(client.get(), &answer, 1, 0) == 1);
}

}  // namespace handoff::test
