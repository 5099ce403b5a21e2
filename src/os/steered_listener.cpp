#include "steered_listener.hpp"

#include <os/listening.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace handoff {

namespace {

result<> set_flag(int fd, int option, int value, char const* doing) {
  if (::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) < 0) return os_failure(doing);
  return {};
}

result<> share_port(int fd, bool shared) {
  return set_flag(fd, SO_REUSEPORT, shared, "setting SO_REUSEPORT");
}

// Takes every datagram that waits, without touching a flag of the socket.
std::uint32_t discard_datagrams(int fd) {
  std::uint32_t taken = 0;
  while (taken < most_unread_counted && ::recv(fd, nullptr, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0) ++taken;
  return taken;
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

error steered_listener::told(error e, std::string_view doing) const {
  return std::move(e).during(std::string(doing) + " '" + name() + "'");
}

// ---- opening

result<std::unique_ptr<steered_listener>> steered_listener::open(listener_settings settings,
                                                                 std::uint32_t sticky_seed) {
  std::string says = binding(settings);
  auto const* address = std::get_if<inet_address>(&settings.address);
  if (address == nullptr || address->port == 0 || settings.type == socket_type::seqpacket) {
    return plain_failure(says + ": only TCP and UDP with a port of their own can be steered");
  }
  auto program = steering::create(settings.type);
  if (!program) return std::unexpected(std::move(program).error().during(says));
  std::unique_ptr<steered_listener> made(
      new steered_listener(std::move(settings), sticky_seed, std::move(*program)));
  if (auto opened = made->open_anchor(); !opened) {
    return std::unexpected(std::move(opened).error().during(says));
  }
  return made;
}

// The address is taken without SO_REUSEPORT, so that everybody who holds it is found, and shared afterwards.
// A socket gets its group with the program, which it takes before bind() only while it says that it will
// share.
result<> steered_listener::open_anchor() {
  auto address = address_of(settings_);
  if (!address) return std::unexpected(std::move(address).error());
  auto socket = make_socket(address->family(), settings_);
  if (!socket) return std::unexpected(std::move(socket).error());
  int fd = socket->get();
  auto done = share_port(fd, true);
  if (done) done = program_.attach(fd);
  if (done) done = share_port(fd, false);
  if (done) done = bind_to(fd, *address, settings_.type);
  if (done) done = listen_on(fd, settings_);
  if (done) done = share_port(fd, true);
  if (done) anchor_ = std::move(*socket);
  return done;
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
  std::string doing = "adding generation " + std::to_string(number(who)) + " to";
  auto refused = [&](error e) { return std::unexpected(told(std::move(e), doing)); };
  if (who == no_generation || find(who) != nullptr) {
    return refused(plain_failure("it has a slot already").error());
  }
  auto free = std::ranges::find(slots_, no_generation, &slot::owner);
  if (free == slots_.end()) {
    std::string what = "all " + std::to_string(steering_slots) + " slots are taken";
    return refused(plain_failure(what).error());
  }
  auto socket = open_member();
  if (!socket) return refused(std::move(socket).error());
  *free = {who, std::move(*socket)};
  if (auto taken = take_slot(static_cast<std::uint32_t>(free - slots_.begin())); !taken) {
    remove(who);
    return refused(std::move(taken).error());
  }
  return {};
}

// The page comes first: flows that begin in the slot are the new owner's.
result<> steered_listener::take_slot(std::uint32_t index) {
  auto done = program_.reset_counts(index);
  if (done) done = write_page();
  if (done) done = set_flag(slots_[index].socket.get(), SO_LOCK_FILTER, 1, "locking its program");
  if (done) done = place(index);
  return done;
}

result<> steered_listener::place(std::uint32_t index) {
  if (!any_placed()) anchor_exposed_ = true;
  return program_.place(index, slots_[index].socket.get());
}

std::uint32_t steered_listener::index_of(generation_number who) const {
  if (who == no_generation) return no_slot;
  return static_cast<std::uint32_t>(std::ranges::find(slots_, who, &slot::owner) - slots_.begin());
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
  if (index == no_slot || slots_[index].shut) {
    return std::unexpected(told(plain_failure("its door is closed").error(), "reopening"));
  }
  auto open = listen_on(slots_[index].socket.get(), settings_);
  if (open && !program_.is_placed(index)) open = place(index);
  if (open && anchor_exposed_) open = empty_anchor();
  if (!open) return std::unexpected(told(std::move(open).error(), "reopening"));
  return {};
}

result<> steered_listener::shut(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot || slots_[index].shut) return {};
  slots_[index].shut = true;
  auto done = write_page();
  // The kernel takes a TCP socket out of its slot before it migrates what waits.
  if (is_tcp()) ::shutdown(slots_[index].socket.get(), SHUT_RD);
  auto cleared = program_.clear(index);
  if (done) done = cleared;
  if (!done) return std::unexpected(told(std::move(done).error(), "closing a door of"));
  return {};
}

steered_listener::leaving steered_listener::remove(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot) return {};
  // With the door shut in another process too: a copy that somebody kept must not go on collecting.
  shut(who);
  leaving left;
  if (!is_tcp()) left.unread_datagrams = discard_datagrams(slots_[index].socket.get());
  slots_[index] = {};
  return left;
}

// ---- choosing

result<> steered_listener::write_page() {
  slot_owners owners{};
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (!slots_[i].shut) owners[i] = slots_[i].owner;
  }
  steering_constants constants{sticky_seed_, settings_.flow_timeout, settings_.connection_id_byte};
  return program_.apply(make_page(split_, owners, probes_, constants));
}

result<> steered_listener::apply(traffic_split const& split) {
  split_ = split;
  auto done = write_page();
  if (done && anchor_exposed_) done = empty_anchor();
  if (!done) return std::unexpected(told(std::move(done).error(), "dividing the traffic of"));
  return {};
}

result<> steered_listener::add_probe(socket_address const& from, generation_number to) {
  auto refused = [&](error e) { return std::unexpected(told(std::move(e), "adding a probe to")); };
  auto client = client_at(from, to);
  if (!client) return refused(std::move(client).error());
  std::erase_if(probes_, same_client(*client));
  if (probes_.size() == most_probes) {
    return refused(plain_failure("it has " + std::to_string(most_probes) + " already").error());
  }
  probes_.push_back(*client);
  auto written = write_page();
  if (!written) return refused(std::move(written).error());
  return {};
}

result<> steered_listener::remove_probe(socket_address const& from) {
  auto client = client_at(from, no_generation);
  if (!client || std::erase_if(probes_, same_client(*client)) == 0) return {};
  auto written = write_page();
  if (!written) return std::unexpected(told(std::move(written).error(), "removing a probe from"));
  return {};
}

// ---- looking

std::optional<std::uint32_t> steered_listener::queued(generation_number who) const {
  auto const* found = find(who);
  return found == nullptr || !is_tcp() ? std::nullopt : accept_queue(found->socket.get());
}

std::optional<slot_counts> steered_listener::counts(generation_number who) const {
  auto index = index_of(who);
  if (index == no_slot) return std::nullopt;
  auto found = program_.counts(index);
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<duration> steered_listener::idle(generation_number who) const {
  auto found = counts(who);
  if (!found || !found->last_datagram) return std::nullopt;
  auto now = std::chrono::time_point_cast<duration>(std::chrono::steady_clock::now());
  return std::max(now - *found->last_datagram, duration(0));
}

// ---- keeping it in order

result<> steered_listener::restore_backlogs() const {
  auto done = listen_on(anchor_.get(), settings_);
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    auto const& s = slots_[i];
    bool open = s.owner != no_generation && !s.shut && program_.is_placed(i);
    if (done && open) done = listen_on(s.socket.get(), settings_);
  }
  if (!done) return std::unexpected(told(std::move(done).error(), "restoring the backlogs of"));
  return {};
}

bool steered_listener::any_placed() const {
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].owner != no_generation && program_.is_placed(i)) return true;
  }
  return false;
}

// A TCP anchor is replaced by a new member: half-open handshakes are in no queue that could be asked for, and
// they would end in the anchor after all if the same socket listened again (measured). The descriptor stays
// the same.
result<> steered_listener::empty_anchor() {
  if (!any_placed()) return {};
  if (is_tcp()) {
    auto fresh = open_member();
    if (!fresh) return std::unexpected(std::move(fresh).error());
    ::shutdown(anchor_.get(), SHUT_RD);  // also for a copy that a store keeps
    if (::dup3(fresh->get(), anchor_.get(), O_CLOEXEC) < 0) return os_failure("replacing the anchor");
  } else {
    // They can be moved to nobody; left alone they would look like a lost program for ever.
    discard_datagrams(anchor_.get());
  }
  anchor_exposed_ = false;
  return {};
}

bool steered_listener::intact() const {
  pollfd anchor{anchor_.get(), POLLIN, 0};
  bool got_something = ::poll(&anchor, 1, 0) > 0;
  return !got_something || anchor_exposed_ || !any_placed();
}

result<> steered_listener::reattach() {
  auto done = program_.attach(anchor_.get());
  if (done) done = empty_anchor();
  if (!done) return std::unexpected(told(std::move(done).error(), "steering"));
  return {};
}

}  // namespace handoff
