// The verbs the engine needs from the world. handoffd implements them with processes and sockets, the
// simulator with fakes. What becomes of an action comes back as an event, never as a return value.
#pragma once

#include <core/action.hpp>

#include <optional>
#include <vector>

namespace handoff {

struct launcher {
  virtual ~launcher() = default;
  virtual void launch(instance_id const&) = 0;  // → launched or launch_failed, then exited once
  virtual void ask_to_drain(instance_id const&) = 0;
  virtual void kill(instance_id const&) = 0;   // all its processes
  virtual void abort(instance_id const&) = 0;  // SIGABRT, for a core
};

struct release_store {
  virtual ~release_store() = default;
  virtual void prepare(act::prepare const&) = 0;  // → prepared or preparation_failed
  virtual void forget(generation_number) = 0;
};

struct command_runner {
  virtual ~command_runner() = default;
  virtual void run(command const&) = 0;  // → command_finished
  virtual void cancel(command_number) = 0;
};

struct traffic {
  virtual ~traffic() = default;
  virtual void split(traffic_split const&) = 0;
  // → traffic_settled, unless its slots are removed before
  virtual void settle(generation_number, instant by) = 0;
  virtual void close_slots(generation_number) = 0;   // as soon as nobody takes from them any more
  virtual void remove_slots(generation_number) = 0;  // now; what waits in them moves to the split's fallback
  // → listener_reopened; before it listener_replaced where only a new socket could be opened
  virtual void reopen(std::size_t listener, generation_number slot, generation_number by) = 0;
  virtual void restore_backlogs() = 0;  // to what is configured
};

struct alarm_clock {
  virtual ~alarm_clock() = default;
  virtual instant now() = 0;
  virtual void wake_at(std::optional<instant>) = 0;  // → time_passed
};

struct audience {
  virtual ~audience() = default;
  virtual void hear(fact const&, state const&) = 0;
  virtual void hear(answer const&) = 0;
  virtual void finish() = 0;  // everything is gone
};

// Remembers for a successor. Asked before anybody is told what happened or sent away, so that nobody knows
// more than it does and nobody leaves for reasons that it does not know.
struct remembrance {
  virtual ~remembrance() = default;
  // `parting` are about to be asked to leave or killed: once with them, and without them when it was done.
  virtual void keep(state const&, std::vector<fact> const& untold,
                    std::vector<instance_id> const& parting) = 0;
};

struct ports {
  launcher& instances;
  release_store& releases;
  command_runner& commands;
  handoff::traffic& traffic;
  alarm_clock& clock;
  handoff::audience& audience;
  remembrance* memory = nullptr;  // none: we die with all that we know
};

}  // namespace handoff
