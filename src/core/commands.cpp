// Hooks, checks and probes in flight: each has a deadline, and each is cancelled with what it was for.
#include "turn.hpp"

#include <algorithm>

namespace handoff {

namespace {

void finished(turn& t, command const& c, std::optional<std::string> const& failure,
              std::vector<double> const& numbers) {
  switch (c.what) {
    case command::purpose::hook: {
      bool gates = t.s.rollout && t.s.rollout->hook == c.number;
      if (gates) return end_of_hook(t, c.at, failure);
      if (failure)
        t.tell({.kind = fact_kind::note,
                .generation = c.generation,
                .detail = std::string(to_string(c.at)) + " hook: " + *failure});
      return;
    }
    case command::purpose::check:
      return end_of_check(t, c.check, failure);
    case command::purpose::metric:
      return end_of_metric(t, c, failure, numbers);
    case command::purpose::probe:
      return end_of_probe(t, c.instance, failure);
  }
}

}  // namespace

command_number run(turn& t, command c, duration timeout) {
  t.s.last_command = command_number{static_cast<std::uint32_t>(t.s.last_command) + 1};
  c.number = t.s.last_command;
  c.deadline = t.now + timeout;
  t.s.commands.push_back(c);
  t.perform(act::run_command{c});
  return c.number;
}

void run_hook_aside(turn& t, hook at, generation_number g, rollout_number r) {
  auto timeout = t.s.policy.hooks[static_cast<std::size_t>(at)];
  if (timeout) run(t, {.what = command::purpose::hook, .at = at, .generation = g, .rollout = r}, *timeout);
}

void cancel(turn& t, command_number number) {
  auto found = std::ranges::find_if(t.s.commands, [&](auto const& c) { return c.number == number; });
  if (found == t.s.commands.end()) return;
  generation_number of = found->generation;
  t.s.commands.erase(found);
  t.perform(act::cancel_command{number});
  forget_if_unneeded(t, of);
}

// A release goes when its generation is gone, nobody would go back to it, and no hook runs as it says.
void forget_if_unneeded(turn& t, generation_number g) {
  bool runs_as_it_says = std::ranges::any_of(t.s.commands, [&](auto const& c) { return c.generation == g; });
  if (g == no_generation || g == t.s.previous || t.s.find(g) != nullptr || runs_as_it_says) return;
  t.perform(act::forget{g});
}

void expire_commands(turn& t) {
  for (;;) {
    auto due = std::ranges::find_if(t.s.commands, [&](auto const& c) { return c.deadline <= t.now; });
    if (due == t.s.commands.end()) return;
    command late = *due;
    cancel(t, late.number);
    finished(t, late, "no end in time", {});
  }
}

void on(turn& t, command_finished const& e) {
  auto found = std::ranges::find_if(t.s.commands, [&](auto const& c) { return c.number == e.command; });
  if (found == t.s.commands.end()) return;
  command done = *found;
  t.s.commands.erase(found);
  finished(t, done, e.failure, e.numbers);
  forget_if_unneeded(t, done.generation);
}

}  // namespace handoff
