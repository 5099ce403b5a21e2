// A plan in words, for people who want to know what comes: imperative, where the log tells what is done.
#pragma once

#include <core/plan.hpp>
#include <core/settings.hpp>
#include <core/state.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace handoff {

// What people take for one step may be several of the plan: a weight and the hold at it.
struct told_step {
  std::string text;       // "give it 5 % of the traffic for 2m (check 'smoke' meanwhile)"
  std::size_t first = 0;  // the step of the plan that it begins with
};
std::vector<told_step> tell_plan(plan const&, operator_policy const&);

// What becomes of the generation that a promotion replaces, called `old`: "generation 7 drains for at most
// 1m".
std::string tell_end(operator_policy const&, generation_policy const& of_old, std::string const& old);

// What an upgrade would do now, from what it would wait for to what becomes of live. The policies are those
// that the configuration gives the candidate.
std::vector<std::string> forecast(state const&, operator_policy const&, generation_policy const& candidate);

// The same where no supervisor is asked: an upgrade of a service with as many instances as it is to have.
std::vector<std::string> forecast(settings const&);

}  // namespace handoff
