#include "ebpf_listener.hpp"

#include <os/launch.hpp>
#include <os/listening.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>

namespace handoff {

namespace {

result<> lock_program(int fd) {
  int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) < 0)
    return os_failure("locking its program");
  return {};
}

}  // namespace

result<std::unique_ptr<steered_listener>> ebpf_listener::open(listener_settings settings,
                                                              std::uint32_t sticky_seed) {
  auto program = steering::create(settings.type);
  if (!program) return std::unexpected(std::move(program).error());
  std::unique_ptr<ebpf_listener> made(
      new ebpf_listener(std::move(settings), sticky_seed, std::move(*program)));
  auto anchor = made->open_first([&](int fd) { return made->program_.attach(fd); });
  if (!anchor) return std::unexpected(std::move(anchor).error());
  made->anchor_ = std::move(*anchor);
  return made;
}

result<std::unique_ptr<steered_listener>> ebpf_listener::adopt(listener_settings settings,
                                                               std::uint32_t sticky_seed,
                                                               inherited_group left) {
  bool whole = std::ranges::all_of(left.program, [](auto const& fd) { return static_cast<bool>(fd); });
  result<steering> program = whole ? steering::adopt(std::move(left.program)) : plain_failure("it is lost");
  if (!program && is_transient(program.error())) return std::unexpected(std::move(program).error());
  bool is_new = !program.has_value();
  if (is_new) program = steering::create(settings.type);
  if (!program) return std::unexpected(std::move(program).error());
  std::unique_ptr<ebpf_listener> made(
      new ebpf_listener(std::move(settings), sticky_seed, std::move(*program)));
  made->take_slots(std::move(left.slots));
  made->anchor_ = std::move(left.anchor);
  auto done = result<>();
  if (!made->anchor_) {
    auto anchor = made->open_member();
    if (!anchor) return std::unexpected(std::move(anchor).error());
    made->anchor_ = std::move(*anchor);
    is_new = true;  // where only the anchor is lost, a service may have taken the program away unseen
  }
  if (is_new) done = made->replace_program();
  if (!done) return std::unexpected(std::move(done).error());
  return made;
}

// Nothing is chosen for as long as its slots are empty, so the kernel chooses any member; who comes to the
// anchor meanwhile moves on with the first split.
result<> ebpf_listener::replace_program() {
  auto done = program_.attach(anchor_.get());
  for (std::uint32_t i = 0; done && i < slots_.size(); ++i) {
    auto const& s = slots_[i];
    if (!s.socket || s.shut) continue;
    auto listens = is_tcp() ? is_listening(s.socket.get()) : true;
    if (!listens) return std::unexpected(std::move(listens).error());
    auto placed = program_.is_placed(i);
    if (!placed) return std::unexpected(std::move(placed).error());
    if (*listens && !*placed) done = place_again(i);
  }
  return done;
}

// A socket is in one map at most, and the kernel frees that of a program which was replaced a little later
// (EBUSY until then).
result<> ebpf_listener::place_again(std::uint32_t index) {
  constexpr int most_tries = 200;
  constexpr timespec a_moment{0, 5'000'000};
  auto placed = place(index);
  for (int tries = 0;
       !placed && placed.error().code == std::errc::device_or_resource_busy && tries < most_tries; ++tries) {
    ::nanosleep(&a_moment, nullptr);
    placed = place(index);
  }
  return placed;
}

void ebpf_listener::describe(group_view& seen) const {
  seen.anchor = anchor_.get();
  auto all = program_.descriptors();
  seen.program.assign(all.begin(), all.end());
  seen.program_id = program_.id();
}

// ---- slots

result<> ebpf_listener::open_slot(generation_number who) {
  auto index = free_slot();
  if (!index) return std::unexpected(std::move(index).error());
  auto socket = open_member();
  if (!socket) return std::unexpected(std::move(socket).error());
  slots_[*index] = {who, std::move(*socket)};
  auto taken = take_slot(*index);
  if (!taken) remove(who);
  return taken;
}

// The page comes first: flows that begin in the slot are the new owner's.
result<> ebpf_listener::take_slot(std::uint32_t index) {
  auto done = program_.reset_counts(index);
  if (done) done = choose_anew();
  if (done) done = lock_program(slots_[index].socket.get());
  if (done) done = place(index);
  return done;
}

result<> ebpf_listener::place(std::uint32_t index) {
  auto any = any_placed();
  if (!any) return std::unexpected(std::move(any).error());
  if (!*any) anchor_exposed_ = true;
  return program_.place(index, slots_[index].socket.get());
}

result<> ebpf_listener::open_again(std::uint32_t index) {
  auto open = listen_on(slots_[index].socket.get(), settings_);
  auto placed = program_.is_placed(index);
  if (open && !placed) open = std::unexpected(placed.error());
  if (open && !*placed) open = place(index);
  if (open && anchor_exposed_) open = empty_anchor();
  return open;
}

result<> ebpf_listener::close_door(std::uint32_t index) {
  auto done = choose_anew();
  // The kernel takes a TCP socket out of its slot before it migrates what waits.
  if (is_tcp()) ::shutdown(slots_[index].socket.get(), SHUT_RD);
  auto cleared = program_.clear(index);
  return done ? cleared : done;
}

// Handshakes take time to end; what is sent to a UDP socket that nobody reads any more is lost.
void ebpf_listener::retire(generation_number who) {
  if (!is_tcp()) shut(who);
}

steered_listener::leaving ebpf_listener::remove(generation_number who) {
  auto index = index_of(who);
  if (index == no_slot) return {};
  // With the door shut in another process too: a copy that somebody kept must not go on collecting.
  shut(who);
  leaving left;
  if (!is_tcp()) left.unread_datagrams = discard_datagrams(slots_[index].socket.get());
  slots_[index] = {};
  return left;
}

// ---- looking

std::optional<slot_counts> ebpf_listener::counts(generation_number who) const {
  auto index = index_of(who);
  if (index == no_slot) return std::nullopt;
  auto found = program_.counts(index);
  return found ? std::optional(*found) : std::nullopt;
}

result<bool> ebpf_listener::any_placed() const {
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].owner == no_generation) continue;
    if (auto placed = program_.is_placed(i); !placed || *placed) return placed;
  }
  return false;
}

bool ebpf_listener::intact() const {
  pollfd anchor{anchor_.get(), POLLIN, 0};
  bool got_something = ::poll(&anchor, 1, 0) > 0;
  return !got_something || anchor_exposed_ || !any_placed().value_or(true);
}

// ---- keeping it in order

result<> ebpf_listener::listen_again() const {
  auto done = listen_on(anchor_.get(), settings_);
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    auto const& s = slots_[i];
    if (!done || s.owner == no_generation || s.shut) continue;
    auto placed = program_.is_placed(i);
    if (!placed) return std::unexpected(std::move(placed).error());
    if (*placed) done = listen_on(s.socket.get(), settings_);
  }
  return done;
}

// A service may have put another program in the place of ours, and the kernel tells nobody.
result<> ebpf_listener::after_split() {
  auto done = program_.attach(anchor_.get());
  return done && anchor_exposed_ ? empty_anchor() : done;
}

// A TCP anchor is replaced by a new member: half-open handshakes are in no queue that could be asked for, and
// they would end in the anchor after all if the same socket listened again (measured). The descriptor stays
// the same.
result<> ebpf_listener::empty_anchor() {
  auto any = any_placed();
  if (!any) return std::unexpected(std::move(any).error());
  if (!*any) return {};
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

result<> ebpf_listener::attach_again() {
  auto done = program_.attach(anchor_.get());
  if (done) done = empty_anchor();
  return done;
}

}  // namespace handoff
