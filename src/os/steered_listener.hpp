// A TCP or UDP listener in whose reuseport group each generation has a slot: a socket of its own. The
// steering program chooses the slot of each new connection or datagram.
//
// The group begins with the anchor, a member that is in no slot and is passed to nobody. It holds the address
// open, catches what comes while no slot is present, and is the way to the program: passed slots are locked
// against another one.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <core/ids.hpp>
#include <core/settings.hpp>
#include <core/split.hpp>
#include <os/socket_address.hpp>
#include <os/steering.hpp>
#include <os/steering_page.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// Probes that have a rule at once; the rest of the page's rules is for routes.
constexpr std::size_t most_probes = steering_rules - limit::routes;

class steered_listener {
 public:
  // Opens the group at an internet address with a port. Errors name the listener, its address, and who holds
  // that, also one who would share it. All listeners of a service need the same `sticky_seed` for a client to
  // stay on one side everywhere.
  static result<std::unique_ptr<steered_listener>> open(listener_settings settings,
                                                        std::uint32_t sticky_seed = 0);

  std::string const& name() const { return settings_.name; }
  listener_settings const& settings() const { return settings_; }

  // Never passed to anybody. It is readable only while no slot is present, or when a service took the program
  // away: see intact(). The number stays, but add(), reopen() and reattach() put another TCP socket behind
  // it: an epoll watch or a copy in a store is to be renewed after them.
  int anchor() const { return anchor_.get(); }

  // Opens a slot: it listens and may be chosen, but has no weight. Fails when the generation has one already,
  // or all steering_slots are taken.
  result<> add(generation_number who);

  // To be passed to the generation; close-on-exec and ours.
  std::optional<int> fd(generation_number who) const;

  // In one write, for all that comes next. Kept, so that it holds for slots that are added or removed later.
  // What came while no slot was present moves from the anchor to the fallback.
  result<> apply(traffic_split const& split);

  // For a slot that its service shut: listens again and puts it back. What was queued has moved to the
  // fallback meanwhile. Fails after shut().
  result<> reopen(generation_number who);

  // Closes the door of a draining generation for good. What waits, half-open handshakes included, moves to
  // the fallback at once; services that still poll the socket see it hang up. Of UDP only new datagrams move.
  // Here and in remove(), the kernel resets a connection whose handshake ends on another CPU in this very
  // microsecond (measured): a slot that lost its weight a round trip before has none.
  result<> shut(generation_number who);

  struct leaving {
    std::uint32_t unread_datagrams = 0;  // lost; counted up to most_unread_counted
  };
  // Once the processes of a generation are gone: what waits moves to the fallback, the slot is free again.
  leaving remove(generation_number who);

  // Connections that wait to be accepted; nothing for UDP, and after the slot was shut.
  std::optional<std::uint32_t> queued(generation_number who) const;

  std::optional<slot_counts> counts(generation_number who) const;

  // UDP: since the last datagram of any of its flows; nothing if there never was one.
  std::optional<duration> idle(generation_number who) const;

  // Datagrams and connections from exactly this address and port go to one generation, before all other
  // rules. The same address again moves it. Fails beyond most_probes.
  result<> add_probe(socket_address const& from, generation_number to);
  result<> remove_probe(socket_address const& from);

  // For listeners that are opened from now on and the next restore_backlogs().
  void set_backlog(std::uint32_t backlog) { settings_.options.backlog = backlog; }
  // Applies the configured backlog, which services override.
  result<> restore_backlogs() const;

  // False when the anchor got something although a slot is present: then the program does not choose any
  // more. A service can detach it in spite of the lock, or attach another one through a socket of its own;
  // the kernel tells neither, and one that leaves the anchor out is never noticed.
  bool intact() const;
  // Makes our program choose again and moves what the anchor got meanwhile. Harmless when all is well.
  result<> reattach();

 private:
  struct slot {
    generation_number owner{};
    unique_fd socket;
    bool shut = false;
  };

  steered_listener(listener_settings settings, std::uint32_t sticky_seed, steering program)
      : settings_(std::move(settings)), sticky_seed_(sticky_seed), program_(std::move(program)) {}
  result<> open_anchor();
  result<unique_fd> open_member() const;
  result<> take_slot(std::uint32_t index);
  result<> place(std::uint32_t index);
  result<> write_page();
  result<> empty_anchor();
  bool any_placed() const;
  std::uint32_t index_of(generation_number who) const;
  slot const* find(generation_number who) const;
  bool is_tcp() const { return settings_.type == socket_type::stream; }
  error told(error e, std::string_view doing) const;

  listener_settings settings_;
  std::uint32_t sticky_seed_;
  steering program_;
  unique_fd anchor_;
  std::array<slot, steering_slots> slots_;
  traffic_split split_;
  bool anchor_exposed_ = true;  // no slot was present since it was emptied: there may be something in it
  std::vector<routed_client> probes_;
};

// Unread datagrams of a closing slot that are counted, so that a flood cannot hold us up.
constexpr std::uint32_t most_unread_counted = 16'384;

}  // namespace handoff
