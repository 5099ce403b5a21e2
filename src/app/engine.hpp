// queue → step → perform, in order. The one place where decisions become effects; the simulator drives it
// too.
#pragma once

#include <core/ports.hpp>
#include <core/step.hpp>

#include <deque>

namespace handoff {

class engine {
 public:
  engine(ports p, state initial) : ports_(p), state_(std::move(initial)) {}

  // Takes note; nothing happens before run().
  void post(happening what) { queue_.push_back(std::move(what)); }

  // Handles what was posted, and what that leads to, until the queue is empty. Not reentrant.
  void run();

  state const& current() const { return state_; }
  bool is_idle() const { return queue_.empty(); }

 private:
  // What one turn of the loop leads to.
  struct consequences {
    bool changed = false;
    std::vector<fact> facts;
    std::vector<answer> answers;
    std::vector<action> later;  // those that send somebody away, launches and commands, in their order
  };

  consequences handle_queue();
  void do_the_rest(consequences const&);
  void perform(action const&);

  ports ports_;
  state state_;
  std::deque<happening> queue_;
};

}  // namespace handoff
