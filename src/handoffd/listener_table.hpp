// Every listener of the service: opened before anybody needs it, watched for being shut, closed when no
// configuration and no release that could be launched names it any more. Traffic is divided here.
#pragma once

#include <app/records.hpp>
#include <core/event.hpp>
#include <core/ports.hpp>
#include <os/hangup_watch.hpp>
#include <os/probe_socket.hpp>

#include <handoffd/door.hpp>
#include <handoffd/leaving_slots.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace handoff {

// A listener under the name by which one release knows it.
struct named_listener {
  std::string name;
  std::size_t listener = 0;
};

class inherited_descriptors;
class manifest;
struct kept_listeners;

class listener_table final : public traffic {
 public:
  using post = std::function<void(happening)>;
  using report = std::function<void(std::string)>;  // of what went wrong, or is worth knowing

  static result<std::unique_ptr<listener_table>> create(loop&, post, report, leaving_slots::is_held,
                                                        std::vector<named_descriptor> adopted);

  // Makes all of them open, or changes nothing. One with the address of an open listener is that listener.
  // What is opened counts as configured until the next call.
  result<std::vector<named_listener>> configure(std::vector<listener_settings> const&,
                                                rollout_settings const&);

  // For a successor; and what a successor does first, instead of configure().
  void keep(kept_listeners&, manifest&) const;
  result<> adopt(kept_listeners const&, inherited_descriptors&);
  // Slots that died with a predecessor, of generations that need one to be launched again. None of their
  // instances may run.
  result<> open_missing_slots(kept_listeners const&, std::function<bool(generation_number)> const& is_needed);
  void remove_slots_but(std::vector<generation_number> const& known);

  // How long a leaving generation's queue may stand still.
  void set_retire_after(duration d) { leaving_->set_retire_after(d); }

  // Keeps the listeners open for a release until drop().
  void keep(generation_number, std::vector<named_listener> const&);
  void drop(generation_number);

  // Gives a generation slots, where listeners have them: all or none. Until remove_slots().
  result<> add_slots(generation_number, std::vector<named_listener> const&);

  struct sharing_summary {
    bool any_steered = false;
    bool any_flows = false;                // of UDP, that stay with their generation
    std::uint32_t slots = steering_slots;  // of the steered listener that has fewest
    std::string not_steered;  // the first that should be and is not, and why; empty when there is none
  };
  sharing_summary summary(std::vector<named_listener> const&) const;
  // Why all generations share it; empty where each has a slot.
  std::string why_not_steered(std::size_t listener) const {
    return entries_.at(listener).way_in.why_shared();
  }

  // The way of one probe: what connects from its socket reaches that generation, until it is closed.
  struct probe_way {
    probe_socket near;
    std::size_t listener = 0;
    generation_number to{};
    std::uint32_t reopened = 0;  // how often the listener was, before
  };
  result<probe_way> open_probe(std::size_t listener, generation_number to);
  // Returns whether the generation could be reached all the while. When not, another one may have answered.
  bool close_probe(probe_way const&);

  int fd(std::size_t listener, generation_number g) const { return entries_.at(listener).way_in.fd(g); }
  std::string name(std::size_t listener) const;
  bool is_at(std::size_t listener, listener_settings const&) const;  // the same address, and kind of socket
  std::vector<observed_listener> observe() const;

  // Whether that is counted there for each generation.
  bool counts(traffic_count, std::size_t listener) const;
  // What is counted for a generation's slots, of one listener or of all; nothing where it has none of that
  // kind.
  std::optional<std::uint64_t> counted(traffic_count, generation_number,
                                       std::optional<std::size_t> listener) const;
  std::size_t left_over() const { return adopted_.size(); }  // adopted, but named by no listener

  void split(traffic_split const&) override;
  void settle(generation_number, instant by) override;
  void close_slots(generation_number) override;
  void remove_slots(generation_number) override;
  void reopen(std::size_t listener, generation_number slot, generation_number by) override;
  void restore_backlogs() override;

 private:
  struct entry {
    door way_in;
    std::uint32_t backlog = 0;  // as configured last
    std::uint32_t reopened = 0;
  };
  struct retry {
    std::string why;
    duration wait{};
    watch alarm;
  };

  listener_table(loop& on, post to_engine, report tell, std::vector<named_descriptor> adopted);
  entry* find(listener_settings const&);
  result<std::vector<door>> open(std::vector<listener_settings> const&, rollout_settings const&, bool many);
  void add(door);
  void watch_shared(std::size_t listener);
  void watch_slot(std::size_t listener, generation_number);
  void watch_anchor(std::size_t listener);
  void watch_all(std::size_t listener);
  void reopen_shared(std::size_t listener, generation_number by);
  void put_program_back(std::size_t listener);
  void divide(std::size_t listener);
  void try_again(std::uint64_t key, error const& why, std::function<void()> what);
  std::vector<steered_listener*> with_slot(generation_number);
  void remove_slots_now(generation_number);
  void close_unused();

  loop& loop_;
  post post_;
  report report_;
  std::vector<named_descriptor> adopted_;
  std::uint32_t sticky_seed_;
  std::unique_ptr<hangup_watch> hangups_;  // of shared sockets and slots
  std::unique_ptr<hangup_watch> strays_;   // what comes to an anchor
  std::unique_ptr<leaving_slots> leaving_;
  std::map<std::size_t, entry> entries_;
  std::size_t next_ = 0;
  std::set<std::size_t> configured_;
  std::map<generation_number, std::set<std::size_t>> users_;
  std::set<generation_number> with_slots_;
  std::map<generation_number, watch> removals_;  // that are to come
  std::map<std::uint64_t, retry> retries_;       // by listener and slot, while something fails
  traffic_split split_;
};

}  // namespace handoff
