// Load on a service, from threads of its own, with every reply verified.
//
//   auto run = load::generator::start(plan);   // needs nothing but the plan
//   (*run)->mark("upgrade");                   // from here on, latency is counted in this window
//   (*run)->stop();
//   load::report r = (*run)->wait();
#pragma once

#include "plan.hpp"
#include "tally.hpp"

#include <base/error.hpp>

#include <memory>
#include <string_view>

namespace handoff::load {

class generator {
 public:
  // Starts at once. Fails when the plan asks for nothing possible, or for want of descriptors or threads.
  static result<std::unique_ptr<generator>> start(plan);

  // Stops and waits.
  ~generator();
  generator(generator const&) = delete;
  generator& operator=(generator const&) = delete;

  // The rest may be called from any thread.

  // Requests planned from now on count in the window of that name; a run begins in "steady". False when there
  // are too many windows or marks.
  bool mark(std::string_view window);

  // No new requests from now on. Returns at once; those in flight end, by their timeout at the latest.
  void stop();

  // A descriptor that is readable once the last request has ended; owned by the generator.
  int done_fd() const;

  // Waits for the end and tells everything. May be called again.
  report wait();

  // The counters now.
  counters look() const;

  // Everything so far.
  report report_so_far() const;

 private:
  struct state;
  explicit generator(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace handoff::load
