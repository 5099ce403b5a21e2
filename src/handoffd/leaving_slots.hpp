// The slots of generations that have lost their traffic: until nothing waits in them, and then until nobody
// takes from them any more.
//
// The kernel tells when something comes to wait in a listening socket, and not when the last one was taken or
// the last holder closed it. So a slot is looked at again and again, but only while something waits in it.
#pragma once

#include <core/event.hpp>
#include <os/hangup_watch.hpp>
#include <os/loop.hpp>
#include <os/steered_listener.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace handoff {

// How long a leaving generation goes on accepting what waits for it before its queues are others' concern.
constexpr duration queues_settle_for{250};

class leaving_slots {
 public:
  using post = std::function<void(happening)>;
  using is_held = std::function<bool(generation_number, int fd)>;  // by a process of the generation
  using report = std::function<void(std::string)>;

  static result<std::unique_ptr<leaving_slots>> create(loop&, post, is_held, report);

  // A queue in which something waits and that nobody holds, or that has not shrunk for so long, moves on.
  void set_retire_after(duration d) { retire_after_ = d; }

  // Tells traffic_settled once its UDP flows are silent and nothing waits in any of the generation's slots,
  // or that has had its time: flows keep a generation longer than queues may stand still. Shortly before
  // `by`, flows that are not silent are given to others.
  void settle(generation_number, instant by, std::vector<steered_listener*> const& listeners);

  // From now on whoever could take from the slots has been told to leave.
  void close(generation_number, std::vector<steered_listener*> const& listeners);

  // Before the slots are removed.
  void forget(generation_number);

 private:
  struct slot {
    steered_listener* listener = nullptr;
    generation_number of{};
    std::uint64_t key = 0;
    bool closing = false;  // what waits may move on
    instant close_at{};
    instant look_at{};  // not before; never while it is watched for an arrival
    bool resting = false;
    instant move_at{};  // UDP: flows that are not silent by then belong to others
    bool moved = false;
    std::uint32_t waiting = 0;  // as seen last
    instant since{};            // that many
    duration patience{};        // until it is asked who holds it
  };

  leaving_slots(loop& on, post to_engine, is_held held, report tell);
  void look();
  void look_at_queue(slot&);
  void look_at_flows(slot&);
  void rest(slot&);
  void move_on(slot&, char const* why);
  void tell_settled();
  void arm();

  loop& loop_;
  post post_;
  is_held is_held_;
  report report_;
  duration retire_after_{1000};
  std::unique_ptr<hangup_watch> arrivals_;
  std::vector<slot> slots_;
  std::vector<generation_number> settling_;
  std::uint64_t last_key_ = 0;
  watch alarm_;
};

}  // namespace handoff
