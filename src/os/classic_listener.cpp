#include "classic_listener.hpp"

#include <os/classic_program.hpp>
#include <os/listening.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>

namespace handoff {

namespace {

result<> attach(int fd, std::vector<sock_filter>& program) {
  sock_fprog all{static_cast<unsigned short>(program.size()), program.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &all, sizeof all) == 0) return {};
  std::string size = std::to_string(program.size()) + " instructions";
  if (errno == ENOMEM)
    return os_failure("attaching a classic program of " + size +
                      " (sysctl net.core.optmem_max is the limit)");
  return os_failure("attaching a classic program of " + size);
}

bool hangs_up(int fd) {
  pollfd look{fd, POLLRDHUP, 0};
  return ::poll(&look, 1, 0) > 0;
}

}  // namespace

result<std::unique_ptr<steered_listener>> classic_listener::open(listener_settings settings,
                                                                 std::uint32_t sticky_seed) {
  std::unique_ptr<classic_listener> made(new classic_listener(std::move(settings), sticky_seed));
  auto first = made->open_first([&](int fd) {
    auto program = classic_program({}, made->settings_.type, {});
    return attach(fd, program);
  });
  if (!first) return std::unexpected(std::move(first).error());
  made->slots_[0].socket = std::move(*first);
  made->order_ = {0};
  return made;
}

result<std::unique_ptr<steered_listener>> classic_listener::adopt(listener_settings settings,
                                                                  std::uint32_t sticky_seed,
                                                                  inherited_group left) {
  std::unique_ptr<classic_listener> made(new classic_listener(std::move(settings), sticky_seed));
  made->take_slots(std::move(left.slots));
  made->order_ = left.order;
  // A socket that nobody else held left the group when the predecessor died.
  for (auto i : left.order)
    if (i >= classic_slots || !made->slots_[i].socket) made->leaves(i);
  return made;
}

// ---- the group

bool classic_listener::is_member(std::uint32_t index) const {
  return std::ranges::find(order_, index) != order_.end();
}

void classic_listener::leaves(std::uint32_t index) {
  auto at = std::ranges::find(order_, index);
  if (at == order_.end()) return;
  *at = order_.back();
  order_.pop_back();
}

// A TCP socket that a service shut down is in the group no more.
void classic_listener::notice_who_left() {
  for (std::uint32_t i = 0; i < slots_.size(); ++i)
    if (is_tcp() && is_member(i) && !is_listening(slots_[i].socket.get()).value_or(true)) leaves(i);
}

result<> classic_listener::choose_by(steering_page const& page) {
  if (order_.empty()) return {};
  std::vector<std::uint32_t> order = order_;
  for (auto& index : order)
    if (slots_[index].shut) index = no_slot;
  auto program = classic_program(page, settings_.type, order);
  return attach(slots_[order_.front()].socket.get(), program);
}

// ---- slots

// Rather one that is open: something may wait in it.
std::uint32_t classic_listener::vacant_slot() const {
  auto is_vacant = [](slot const& s) { return s.socket && (s.owner == no_generation || s.retired); };
  auto found = std::ranges::find_if(slots_, [&](slot const& s) { return is_vacant(s) && !s.shut; });
  if (found == slots_.end()) found = std::ranges::find_if(slots_, is_vacant);
  return found == slots_.end() ? no_slot : static_cast<std::uint32_t>(found - slots_.begin());
}

// A new member gets nothing at first: the program names only those who were there.
result<> classic_listener::open_slot(generation_number who) {
  notice_who_left();
  if (auto vacant = vacant_slot(); vacant != no_slot) {
    slots_[vacant].owner = who;
    slots_[vacant].shut = slots_[vacant].retired = false;
    return open_again(vacant);
  }
  auto index = free_slot();
  if (!index) return std::unexpected(std::move(index).error());
  if (auto done = choose_anew(); !done) return done;
  auto socket = open_member();
  if (!socket) return std::unexpected(std::move(socket).error());
  slots_[*index] = {who, std::move(*socket)};
  order_.push_back(*index);
  auto done = choose_anew();
  if (!done) remove(who);
  return done;
}

// It will be the last one: the program knows it as that before it joins.
result<> classic_listener::open_again(std::uint32_t index) {
  notice_who_left();
  int fd = slots_[index].socket.get();
  if (is_member(index)) {
    auto done = listen_on(fd, settings_);
    return done ? choose_anew() : done;
  }
  order_.push_back(index);
  auto done = choose_anew();
  if (done) done = listen_on(fd, settings_);
  if (!done) order_.pop_back();
  return done;
}

result<> classic_listener::close_door(std::uint32_t index) {
  notice_who_left();
  auto done = choose_anew();
  bool last = !is_member(index) || order_.size() == 1;
  if (!done || !is_tcp() || last) return done;
  int fd = slots_[index].socket.get();
  if (accept_queue(fd).value_or(0) > 0 && !moves_waiting()) return {};
  ::shutdown(fd, SHUT_RD);
  leaves(index);
  return choose_anew();
}

void classic_listener::retire(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot) return;
  slots_[index].retired = true;
  if (!is_tcp()) shut(who);
}

steered_listener::leaving classic_listener::remove(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot) return {};
  notice_who_left();
  bool others = std::ranges::any_of(
      order_, [&](auto other) { return other != index && slots_[other].owner != no_generation; });
  if (others) return end(index);
  abandon(index);
  return {};
}

// The last one, for whoever comes next.
void classic_listener::abandon(std::uint32_t index) {
  slots_[index].owner = no_generation;
  slots_[index].shut = slots_[index].retired = false;
  open_again(index);
}

// Also of a copy that somebody kept must nothing be left in the group. What was shut down leaves it, and only
// TCP can be: a UDP socket stays for the next generation, unless it would hang up for it as well.
steered_listener::leaving classic_listener::end(std::uint32_t index) {
  slot& s = slots_[index];
  s.shut = true;
  choose_anew();
  leaving left;
  if (is_tcp()) {
    if (!moves_waiting()) left.unaccepted_connections = accept_queue(s.socket.get()).value_or(0);
    ::shutdown(s.socket.get(), SHUT_RD);
  } else {
    left.unread_datagrams = discard_datagrams(s.socket.get());
    if (!hangs_up(s.socket.get())) {
      s.owner = no_generation;
      s.retired = false;
      return left;
    }
  }
  leaves(index);
  s = {};
  choose_anew();
  return left;
}

bool classic_listener::moves_waiting() const { return order_.size() > 1 && tcp_migrates_requests(); }

// Who was shut down is left alone: listening again would bring it back to another place of the order.
result<> classic_listener::listen_again() const {
  result<> done;
  for (auto const& s : slots_) {
    bool open = s.socket && !s.shut && is_listening(s.socket.get()).value_or(false);
    if (done && open) done = listen_on(s.socket.get(), settings_);
  }
  return done;
}

// ---- what is possible here

steering_support const& can_steer_by_classic() {
  static steering_support const support = [] {
    // An unbound socket will do: it gets a group of its own.
    unique_fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) socket = unique_fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int on = 1;
    if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
      return steering_support{false, os_failure("making a socket to attach it to").error().message()};
    auto program = classic_program({}, socket_type::stream, {});
    auto tried = attach(socket.get(), program);
    return tried ? steering_support{true, {}} : steering_support{false, tried.error().message()};
  }();
  return support;
}

bool tcp_migrates_requests() {
  int value = 0;
  std::ifstream("/proc/sys/net/ipv4/tcp_migrate_req") >> value;
  return value != 0;
}

}  // namespace handoff
