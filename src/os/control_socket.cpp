#include "control_socket.hpp"

#include <os/account.hpp>
#include <os/socket_address.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace handoff {

namespace {

constexpr int most_waiting = 128;
constexpr int accepts_a_turn = 16;               // so that a flood of clients leaves the loop its time
constexpr std::size_t bytes_a_turn = 64 * 1024;  // so that one client does
constexpr duration retry_accept{1000};           // when there are no descriptors and nobody leaves

unique_fd open_spare() { return unique_fd(::eventfd(0, EFD_CLOEXEC)); }

std::vector<gid_t> groups_of(int fd) {
  std::vector<gid_t> groups(64);
  auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) < 0) {
    // ERANGE says how much room it takes.
    if (errno != ERANGE || bytes > most_groups * sizeof(gid_t)) return {};
    groups.resize(bytes / sizeof(gid_t));
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) < 0) return {};
  }
  groups.resize(bytes / sizeof(gid_t));
  return groups;
}

std::optional<control_peer> peer_of(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) return std::nullopt;
  return control_peer{.uid = who.uid, .gid = who.gid, .pid = who.pid, .groups = groups_of(fd)};
}

bool has_event(int fd, short event) {
  pollfd ask{.fd = fd, .events = event, .revents = 0};
  return ::poll(&ask, 1, 0) > 0 && (ask.revents & event) != 0;
}

// Whether the other end is closed altogether, not only for sending.
bool is_hung_up(int fd) { return has_event(fd, POLLHUP | POLLERR); }

}  // namespace

bool is_member(control_peer const& peer, gid_t group) {
  return peer.gid == group || std::ranges::find(peer.groups, group) != peer.groups.end();
}

result<control_listener> listen_for_control(std::string const& path, std::optional<gid_t> group) {
  std::string doing = "opening the control socket";
  struct stat there;
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return plain_failure(doing + ": " + path + " exists and is not a socket");
    if (::unlink(path.c_str()) < 0) return os_failure(doing + ": replacing " + path);
  }
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return os_failure(doing);
  file_access access;
  if (group) access = {.group = *group, .mode = 0660};
  auto file = bind_socket_path(fd.get(), path, access);
  if (!file) return failure(std::move(file.error()).during(doing));
  if (::listen(fd.get(), most_waiting) < 0) return os_failure(doing + " " + path);
  return control_listener{std::move(fd), owned_socket_file(path, *file)};
}

struct control_socket::client {
  unique_fd fd;
  control_peer peer;
  std::string input;
  std::size_t used = 0;  // of input
  std::string output;
  instant since;           // when it became this client's turn to do something
  bool known = false;      // to the program, which must then hear that it is gone
  bool busy = false;       // its message waits for the complete reply
  bool ended = false;      // it has shut its sending side
  bool closing = false;    // takes no more messages
  bool condemned = false;  // goes at the next look
  unsigned watched = 0;    // readiness_of_fd, 0 for nothing
  handoff::watch watch;    // destroyed before `fd`

  std::size_t pending() const { return input.size() - used; }
  bool is_full(control_limits const& l) const { return pending() > l.message_bytes; }
  bool waits_for_nobody() const { return busy && output.empty(); }
};

control_socket::control_socket(loop& l, unique_fd listening, control_handlers handlers, std::string refusal,
                               control_limits limits)
    : loop_(l),
      listening_(std::move(listening)),
      handlers_(std::move(handlers)),
      refusal_(std::move(refusal)),
      limits_(limits),
      own_uid_(::geteuid()),
      spare_(open_spare()) {}

control_socket::~control_socket() = default;

result<std::unique_ptr<control_socket>> control_socket::serve(loop& l, unique_fd listening,
                                                              control_handlers handlers, std::string refusal,
                                                              control_limits limits) {
  std::unique_ptr<control_socket> made(
      new control_socket(l, std::move(listening), std::move(handlers), std::move(refusal), limits));
  if (auto begun = made->begin_accepting(); !begun) return failure(std::move(begun.error()));
  return made;
}

result<> control_socket::begin_accepting() {
  auto made = loop_.on_fd(listening_.get(), readiness_of_fd::readable, [this] { accept_some(); });
  if (!made) return failure(std::move(made.error()).during("watching the control socket"));
  accepting_ = std::move(*made);
  return {};
}

void control_socket::accept_some() {
  for (int i = 0; i < accepts_a_turn; ++i) {
    unique_fd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      if (!spare_) spare_ = open_spare();  // fails when `fd` is the descriptor that was spent
      greet(std::move(fd));
      if (!spare_) spare_ = open_spare();
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    bool short_of_descriptors = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    // accept(2) finds the lack of a descriptor before the lack of a client.
    if (!short_of_descriptors || !has_event(listening_.get(), POLLIN)) return;
    if (!spend_spare()) {
      // The socket stays readable: watching it would spin.
      accepting_.reset();
      wake_at(loop::now() + retry_accept);
      return;
    }
  }
}

// Makes a descriptor free to accept one more client with; false when there is none to be had.
bool control_socket::spend_spare() {
  if (!spare_) {
    if (auto leaves = longest_idle(taken())) drop(*leaves);
  }
  if (!spare_) return false;
  spare_.reset();
  return true;
}

std::vector<taken_place> control_socket::taken() const {
  std::vector<taken_place> places;
  for (auto const& [id, c] : clients_) places.push_back({id, c.peer.uid, c.busy, c.since});
  return places;
}

void control_socket::greet(unique_fd fd) {
  auto peer = peer_of(fd.get());
  if (!peer) return;
  auto decide = [&] { return admit(limits_.places, taken(), peer->uid, own_uid_, loop::now()); };
  auto decided = decide();
  if (decided.evicted) {
    // Nobody whose message is here already counts as idle.
    serve_all();
    decided = decide();
  }
  bool last_descriptor = !spare_ && peer->uid != 0 && peer->uid != own_uid_;
  if (!decided.admitted || last_descriptor) {
    ::send(fd.get(), refusal_.data(), refusal_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  if (decided.evicted) drop(*decided.evicted);
  client_id id{++last_id_};
  client& c = clients_[id];
  c.fd = std::move(fd);
  c.peer = std::move(*peer);
  c.since = loop::now();
  serve_one(id);  // before anybody can be let in in its place
}

std::vector<control_socket::client_view> control_socket::clients_now() const {
  std::vector<client_view> all;
  for (auto const& [id, c] : clients_)
    if (!c.condemned)
      all.push_back({id, c.fd.get(), {c.input.substr(c.used), c.output, c.busy, c.ended, c.closing}});
  return all;
}

std::optional<client_id> control_socket::take_over(unique_fd fd, carried_client was) {
  auto peer = peer_of(fd.get());
  if (!peer) return std::nullopt;
  client_id id{++last_id_};
  client& c = clients_[id];
  c.fd = std::move(fd);
  c.peer = std::move(*peer);
  c.input = std::move(was.input);
  c.output = std::move(was.output);
  c.busy = c.known = was.busy;
  c.ended = was.ended;
  c.closing = was.closing;
  c.since = loop::now();
  if (auto watched = watch_for_more(id, c); !watched) c.condemned = true;
  wake_at(loop::now());
  return id;
}

void control_socket::serve_one(client_id id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  read(found->second);
  flush(found->second);
  settle(id);
}

// Does for a client all that can be done now, and drops it if that was the last.
void control_socket::settle(client_id id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  client& c = found->second;
  hand_out_messages(id, c);
  bool finished = c.output.empty() && (c.closing || (c.ended && !c.busy));
  bool gone = (c.ended || c.is_full(limits_)) && is_hung_up(c.fd.get());
  bool late = !c.waits_for_nobody() && loop::now() >= c.since + limits_.patience;
  if (c.condemned || finished || gone || late || !watch_for_more(id, c)) return drop(id);
  if (!c.waits_for_nobody()) wake_at(c.since + limits_.patience);
  if (c.watched == 0) wake_at(loop::now() + limits_.patience);
}

void control_socket::read(client& c) {
  std::array<char, 16 * 1024> block;
  for (std::size_t taken = 0; taken < bytes_a_turn && !c.is_full(limits_) && !c.ended;) {
    ssize_t n = ::recv(c.fd.get(), block.data(), block.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      c.condemned = c.condemned || errno != EAGAIN;
      return;
    }
    if (n == 0) c.ended = true;
    taken += static_cast<std::size_t>(n);
    c.input.append(block.data(), static_cast<std::size_t>(n));
  }
}

void control_socket::flush(client& c) {
  std::size_t sent = 0;
  while (sent < c.output.size() && !c.condemned) {
    ssize_t n =
        ::send(c.fd.get(), c.output.data() + sent, c.output.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      c.condemned = errno != EAGAIN;
      break;
    }
    sent += static_cast<std::size_t>(n);
    c.since = loop::now();
  }
  c.output.erase(0, sent);
}

// Hands out messages one at a time: replies keep the order of the calls, and who does not read gets no more.
void control_socket::hand_out_messages(client_id id, client& c) {
  while (!c.busy && !c.closing && !c.condemned && c.output.empty()) {
    std::string_view rest = std::string_view(c.input).substr(c.used);
    auto end = rest.substr(0, limits_.message_bytes + 1).find('\0');
    if (end == std::string_view::npos) {
      c.condemned = rest.size() > limits_.message_bytes;
      break;
    }
    c.used += end + 1;
    c.busy = true;
    c.known = true;
    c.since = loop::now();
    // Within this call send() may change the client, but only drop() may remove it.
    handlers_.on_message(id, c.peer, rest.substr(0, end));
  }
  c.input.erase(0, c.used);
  c.used = 0;
}

// Watches for what this client may do next. Without watch is who waits for its reply while its input is full
// or ended, since the loop would call back for ever; such a one is looked at now and then.
result<> control_socket::watch_for_more(client_id id, client& c) {
  unsigned wanted = 0;
  if (!c.ended && !c.closing && !c.is_full(limits_)) wanted |= unsigned(readiness_of_fd::readable);
  if (!c.output.empty()) wanted |= unsigned(readiness_of_fd::writable);
  if (wanted == c.watched) return {};
  c.watch.reset();
  c.watched = 0;
  if (wanted == 0) return {};
  auto made = loop_.on_fd(c.fd.get(), readiness_of_fd(wanted), [this, id] { serve_one(id); });
  if (!made) return failure(std::move(made.error()));
  c.watch = std::move(*made);
  c.watched = wanted;
  return {};
}

void control_socket::send(client_id id, std::string_view bytes, reply_part part) {
  auto found = clients_.find(id);
  if (found == clients_.end() || found->second.condemned) return;
  client& c = found->second;
  if (c.output.size() > limits_.unread_bytes) {
    c.condemned = true;
  } else {
    bool all_read = c.output.empty();
    c.output += bytes;
    if (all_read) c.since = loop::now();
    flush(c);
  }
  if (part == reply_part::complete) {
    c.busy = false;
    c.since = loop::now();
  }
  wake_at(loop::now());
}

void control_socket::close_after_send(client_id id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  found->second.closing = true;
  wake_at(loop::now());
}

void control_socket::drop(client_id id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  bool known = found->second.known;
  clients_.erase(found);
  if (!spare_) spare_ = open_spare();
  if (!accepting_) wake_at(loop::now());
  if (known) handlers_.on_gone(id);
}

// One timer serves all clients: it is set to the earliest moment at which one of them needs a look.
void control_socket::wake_at(instant when) {
  if (wakes_ && *wakes_ <= when) return;
  auto made = loop_.at(when, [this] { look_after_all(); });
  if (!made) return;
  wake_ = std::move(*made);
  wakes_ = when;
}

std::vector<client_id> control_socket::everybody() const {
  std::vector<client_id> all;
  for (auto const& [id, c] : clients_) all.push_back(id);
  return all;
}

void control_socket::serve_all() {
  for (client_id id : everybody()) serve_one(id);
}

void control_socket::look_after_all() {
  wakes_.reset();
  if (!accepting_ && !begin_accepting()) wake_at(loop::now() + retry_accept);
  for (client_id id : everybody()) settle(id);
}

}  // namespace handoff
