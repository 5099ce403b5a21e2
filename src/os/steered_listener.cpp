#include "steered_listener.hpp"

#include <os/classic_listener.hpp>
#include <os/ebpf_listener.hpp>
#include <os/listening.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace handoff {

namespace {

result<> share_port(int fd, bool shared) {
  int value = shared;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value) < 0)
    return os_failure("setting SO_REUSEPORT");
  return {};
}

result<routed_client> client_at(socket_address const& from, generation_number to) {
  routed_client client{.from = {.address = {}, .prefix = 128}, .port = 0, .to = to};
  auto& bytes = client.from.address;
  if (from.family() == AF_INET) {
    auto const* four = reinterpret_cast<sockaddr_in const*>(&from.storage);
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(&bytes[12], &four->sin_addr, 4);
    client.port = ntohs(four->sin_port);
  } else if (from.family() == AF_INET6) {
    auto const* six = reinterpret_cast<sockaddr_in6 const*>(&from.storage);
    std::memcpy(bytes.data(), &six->sin6_addr, bytes.size());
    client.port = ntohs(six->sin6_port);
  }
  if (client.port == 0) return plain_failure("a probe needs an internet address and a port");
  return client;
}

auto same_client(routed_client const& wanted) {
  return [&](routed_client const& c) { return c.from == wanted.from && c.port == wanted.port; };
}

}  // namespace

std::uint32_t discard_datagrams(int fd) {
  std::uint32_t taken = 0;
  while (taken < most_unread_counted && ::recv(fd, nullptr, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0) ++taken;
  return taken;
}

result<> steered_listener::told(result<> done, std::string_view doing) const {
  if (done) return done;
  return std::unexpected(std::move(done).error().during(std::string(doing) + " '" + name() + "'"));
}

// ---- opening

result<std::unique_ptr<steered_listener>> steered_listener::open(listener_settings settings,
                                                                 std::uint32_t sticky_seed,
                                                                 steering_method method) {
  std::string says = binding(settings);
  auto const* address = std::get_if<inet_address>(&settings.address);
  if (address == nullptr || address->port == 0 || settings.type == socket_type::seqpacket) {
    return plain_failure(says + ": only TCP and UDP with a port of their own can be steered");
  }
  auto made = method == steering_method::ebpf ? ebpf_listener::open(std::move(settings), sticky_seed)
                                              : classic_listener::open(std::move(settings), sticky_seed);
  if (!made) return std::unexpected(std::move(made).error().during(says));
  return made;
}

result<std::unique_ptr<steered_listener>> steered_listener::adopt(listener_settings settings,
                                                                  std::uint32_t sticky_seed,
                                                                  steering_method method,
                                                                  inherited_group left) {
  std::string says = "adopting '" + settings.name + "'";
  auto made = method == steering_method::ebpf
                  ? ebpf_listener::adopt(std::move(settings), sticky_seed, std::move(left))
                  : classic_listener::adopt(std::move(settings), sticky_seed, std::move(left));
  if (!made) return std::unexpected(std::move(made).error().during(says));
  return made;
}

void steered_listener::take_slots(std::vector<inherited_group::slot> left) {
  for (auto& s : left)
    if (s.index < slots_.size()) slots_[s.index] = {s.owner, std::move(s.socket), s.shut, s.retired};
}

steered_listener::group_view steered_listener::group() const {
  group_view seen;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    auto const& s = slots_[i];
    if (s.socket) seen.slots.push_back({i, s.owner, s.shut, s.retired, s.socket.get()});
  }
  describe(seen);
  return seen;
}

// The address is taken without SO_REUSEPORT, so that everybody who holds it is found, and shared afterwards.
// A socket gets its group with the program, which it takes before bind() only while it says that it will
// share.
result<unique_fd> steered_listener::open_first(std::function<result<>(int)> const& attach) const {
  auto address = address_of(settings_);
  if (!address) return std::unexpected(std::move(address).error());
  auto socket = make_socket(address->family(), settings_);
  if (!socket) return socket;
  int fd = socket->get();
  auto done = share_port(fd, true);
  if (done) done = attach(fd);
  if (done) done = share_port(fd, false);
  if (done) done = bind_to(fd, *address, settings_.type);
  if (done) done = listen_on(fd, settings_);
  if (done) done = share_port(fd, true);
  if (!done) return std::unexpected(std::move(done).error());
  return socket;
}

result<unique_fd> steered_listener::open_member() const {
  auto address = address_of(settings_);
  if (!address) return std::unexpected(std::move(address).error());
  auto socket = make_socket(address->family(), settings_);
  if (!socket) return socket;
  int fd = socket->get();
  auto done = share_port(fd, true);
  if (done) done = bind_to(fd, *address, settings_.type);
  if (done) done = listen_on(fd, settings_);
  if (!done) return std::unexpected(std::move(done).error());
  return socket;
}

// ---- slots

result<> steered_listener::add(generation_number who) {
  bool known = who == no_generation || find(who) != nullptr;
  auto done = known ? result<>(plain_failure("it has a slot already")) : open_slot(who);
  return told(std::move(done), "adding generation " + std::to_string(number(who)) + " to");
}

result<std::uint32_t> steered_listener::free_slot() const {
  auto free = std::ranges::find_if(slots_, [](slot const& s) { return !s.socket; });
  if (free == slots_.end()) return plain_failure("all " + std::to_string(slots_.size()) + " slots are taken");
  return static_cast<std::uint32_t>(free - slots_.begin());
}

std::uint32_t steered_listener::index_of(generation_number who) const {
  auto found = std::ranges::find(slots_, who, &slot::owner);
  if (who == no_generation || found == slots_.end()) return no_slot;
  return static_cast<std::uint32_t>(found - slots_.begin());
}

steered_listener::slot const* steered_listener::find(generation_number who) const {
  auto index = index_of(who);
  return index == no_slot ? nullptr : &slots_[index];
}

std::optional<int> steered_listener::fd(generation_number who) const {
  auto const* found = find(who);
  return found == nullptr ? std::nullopt : std::optional(found->socket.get());
}

result<> steered_listener::reopen(generation_number who) {
  auto index = index_of(who);
  bool closed = index == no_slot || slots_[index].shut;
  return told(closed ? result<>(plain_failure("its door is closed")) : open_again(index), "reopening");
}

result<> steered_listener::shut(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot || slots_[index].shut) return {};
  slots_[index].shut = true;
  return told(close_door(index), "closing a door of");
}

// ---- choosing

result<> steered_listener::choose_anew() {
  slot_owners owners{};
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (!slots_[i].shut) owners[i] = slots_[i].owner;
  steering_constants constants{sticky_seed_, settings_.flow_timeout, settings_.connection_id_byte};
  return choose_by(make_page(split_, owners, probes_, constants));
}

result<> steered_listener::apply(traffic_split const& split) {
  split_ = split;
  auto done = choose_anew();
  if (done) done = after_split();
  return told(std::move(done), "dividing the traffic of");
}

result<> steered_listener::add_probe(socket_address const& from, generation_number to) {
  constexpr std::string_view doing = "adding a probe to";
  auto client = client_at(from, to);
  if (!client) return told(std::unexpected(std::move(client).error()), doing);
  std::erase_if(probes_, same_client(*client));
  if (probes_.size() == most_probes)
    return told(plain_failure("it has " + std::to_string(most_probes) + " already"), doing);
  probes_.push_back(*client);
  auto done = choose_anew();
  if (!done) probes_.pop_back();
  return told(std::move(done), doing);
}

result<> steered_listener::remove_probe(socket_address const& from) {
  auto client = client_at(from, no_generation);
  if (!client || std::erase_if(probes_, same_client(*client)) == 0) return {};
  return told(choose_anew(), "removing a probe from");
}

// ---- looking

std::optional<std::uint32_t> steered_listener::queued(generation_number who) const {
  auto const* found = find(who);
  return found == nullptr || !is_tcp() ? std::nullopt : accept_queue(found->socket.get());
}

std::optional<duration> steered_listener::idle(generation_number who) const {
  auto found = counts(who);
  if (!found || !found->last_datagram) return std::nullopt;
  auto now = std::chrono::time_point_cast<duration>(std::chrono::steady_clock::now());
  return std::max(now - *found->last_datagram, duration(0));
}

// ---- keeping it in order

result<> steered_listener::restore_backlogs() const {
  return told(listen_again(), "restoring the backlogs of");
}

result<> steered_listener::reattach() { return told(attach_again(), "steering"); }

}  // namespace handoff
