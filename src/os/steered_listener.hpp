// A TCP or UDP listener in whose reuseport group each generation has a slot: a socket of its own. A program
// in the kernel chooses the slot of each new connection or datagram: an eBPF program (ebpf_listener), or
// where that may not be loaded a classic one, which can do less (classic_listener).
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
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// Probes that have a rule at once; the rest of the page's rules is for routes.
constexpr std::size_t most_probes = steering_rules - limit::routes;

enum class steering_method { ebpf, classic };

// What a predecessor leaves of a group. Its slots are to go on as they are; the rest can be made anew.
struct inherited_group {
  struct slot {
    std::uint32_t index = 0;
    generation_number owner{};
    bool shut = false;
    bool retired = false;
    unique_fd socket;
  };
  std::vector<slot> slots;
  std::vector<std::uint32_t> order;  // classic: of the slots in the kernel's group
  unique_fd anchor;                  // eBPF
  std::array<unique_fd, steering::descriptor_count> program;
};

class steered_listener {
 public:
  // Opens the group at an internet address with a port. Errors name the listener, its address, and who holds
  // that, also one who would share it. All listeners of a service need the same `sticky_seed` for a client to
  // stay on one side everywhere.
  static result<std::unique_ptr<steered_listener>> open(listener_settings settings,
                                                        std::uint32_t sticky_seed = 0,
                                                        steering_method = steering_method::ebpf);

  // Goes on with a group that a predecessor opened: its connections and queues are not touched, and it
  // chooses as before until apply(). Probes' rules are not kept. Where the program did not come, or has
  // another layout, a new one is attached: it counts from 0, and UDP flows are chosen for anew.
  static result<std::unique_ptr<steered_listener>> adopt(listener_settings settings,
                                                         std::uint32_t sticky_seed, steering_method,
                                                         inherited_group);
  // The other way round, with descriptors that stay ours.
  struct group_view {
    struct slot {
      std::uint32_t index = 0;
      generation_number owner{};
      bool shut = false;
      bool retired = false;
      int socket = -1;
    };
    std::vector<slot> slots;
    std::vector<std::uint32_t> order;
    std::optional<int> anchor;
    std::vector<int> program;
    std::uint32_t program_id = 0;  // of this program; a new one has another
  };
  group_view group() const;
  virtual ~steered_listener() = default;
  steered_listener(steered_listener const&) = delete;
  steered_listener& operator=(steered_listener const&) = delete;

  std::string const& name() const { return settings_.name; }
  listener_settings const& settings() const { return settings_; }
  virtual steering_method method() const = 0;
  std::uint32_t most_slots() const { return static_cast<std::uint32_t>(slots_.size()); }

  // Never passed to anybody; classic has none. It is readable only while no slot is present, or when a
  // service took the program away: see intact(). The number stays, but add(), reopen() and reattach() put
  // another TCP socket behind it: an epoll watch or a copy in a store is to be renewed after them.
  virtual std::optional<int> anchor() const { return std::nullopt; }

  // Opens a slot: it listens and may be chosen, but has no weight. Fails when the generation has one already,
  // or all are taken.
  result<> add(generation_number who);
  virtual bool is_full() const { return !free_slot(); }

  // To be passed to the generation; close-on-exec and ours.
  std::optional<int> fd(generation_number who) const;

  // In one step, for all that comes next, by our program whatever chose before. Kept, so that it holds for
  // slots that are added or removed later.
  // What came while no slot was present moves from the anchor to the fallback.
  result<> apply(traffic_split const& split);

  // For a slot that its service shut: listens again and puts it back. What was queued has moved to the
  // fallback meanwhile (classic: if moves_waiting()). Fails after shut().
  result<> reopen(generation_number who);

  // Closes the door of a draining generation for good. What waits, half-open handshakes included, moves to
  // the fallback at once; services that still poll the socket see it hang up. Of UDP only new datagrams move.
  // Here and in remove(), the kernel resets a connection whose handshake ends on another CPU in this very
  // microsecond (measured): a slot that lost its weight a round trip before has none. Where nothing moves, a
  // TCP slot in which something waits stays open for those who still take from it.
  result<> shut(generation_number who);

  // The processes of a generation are gone, remove() is to follow. UDP: shut. Classic: a generation that is
  // added before that takes over the slot with what waits in it.
  virtual void retire(generation_number who) = 0;

  // What was lost.
  struct leaving {
    std::uint32_t unread_datagrams = 0;        // counted up to most_unread_counted
    std::uint32_t unaccepted_connections = 0;  // that were reset, where nothing moves
  };
  // Once the processes of a generation are gone: what waits moves to the fallback, the slot is free again.
  // The last classic slot stays open instead, and whoever is added next takes over what waits in it.
  virtual leaving remove(generation_number who) = 0;

  // Whether what waits in a TCP slot that is shut now would move to another one, instead of being reset.
  virtual bool moves_waiting() const = 0;
  // Whether a UDP flow stays with its slot when the weights change.
  virtual bool remembers_flows() const = 0;

  // Connections that wait to be accepted; nothing for UDP, and when the slot does not listen.
  std::optional<std::uint32_t> queued(generation_number who) const;

  // Nothing where nobody counts: classic.
  virtual std::optional<slot_counts> counts(generation_number) const { return std::nullopt; }

  // UDP: since the last datagram of any of its flows; nothing if there never was one, or if nobody counts.
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
  // the kernel tells neither, and one that leaves the anchor out is not noticed: it goes with the next
  // apply(). Nor is it without an anchor.
  virtual bool intact() const { return true; }
  // Makes our program choose again and moves what the anchor got meanwhile. Harmless when all is well.
  result<> reattach();

 protected:
  struct slot {
    generation_number owner{};
    unique_fd socket;
    bool shut = false;     // gets nothing any more
    bool retired = false;  // the owner's processes are gone
  };

  steered_listener(listener_settings settings, std::uint32_t sticky_seed, std::uint32_t slots)
      : settings_(std::move(settings)), slots_(slots), sticky_seed_(sticky_seed) {}

  virtual void describe(group_view&) const = 0;

  // What is different. Errors name neither the listener nor the call.
  virtual result<> open_slot(generation_number who) = 0;
  virtual result<> open_again(std::uint32_t index) = 0;
  virtual result<> close_door(std::uint32_t index) = 0;
  virtual result<> choose_by(steering_page const&) = 0;
  virtual result<> after_split() { return {}; }
  virtual result<> attach_again() = 0;
  virtual result<> listen_again() const = 0;

  void take_slots(std::vector<inherited_group::slot>);
  result<> choose_anew();
  // The group's first member, bound to an address that nobody else holds; `attach` gives the group its
  // program.
  result<unique_fd> open_first(std::function<result<>(int)> const& attach) const;
  result<unique_fd> open_member() const;
  result<std::uint32_t> free_slot() const;
  std::uint32_t index_of(generation_number who) const;
  bool is_tcp() const { return settings_.type == socket_type::stream; }

  listener_settings settings_;
  std::vector<slot> slots_;

 private:
  result<> told(result<> done, std::string_view doing) const;
  slot const* find(generation_number who) const;

  std::uint32_t sticky_seed_;
  traffic_split split_;
  std::vector<routed_client> probes_;
};

// Unread datagrams of a closing slot that are counted, so that a flood cannot hold us up.
constexpr std::uint32_t most_unread_counted = 16'384;

// Takes every datagram that waits, without touching a flag of the socket; returns how many.
std::uint32_t discard_datagrams(int fd);

}  // namespace handoff
