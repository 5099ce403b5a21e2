// The supervisor's mind: what is and what happened decide what is next and what is to be done, and nothing
// else does.
//
//   trigger ─► waiting for room ─► preparing ─► plan[0] ─► … ─► plan[n] ─► promoted: candidate becomes live,
//                    │                 │           │               │         old live drains
//                    └── abort, stop ──┴── failed, refused, crashed┘
//                                      ▼
//                         rolled back or refused: candidate drains, live never noticed
//
// A verdict is a change of role, so news that comes too late ("ready" of a condemned candidate) finds a
// draining generation and changes nothing. Time is compared, never read: next_deadline() says when to call
// again.
#pragma once

#include <core/action.hpp>
#include <core/event.hpp>
#include <core/state.hpp>

#include <vector>

namespace handoff {

struct outcome {
  std::vector<action> actions;  // to be performed in this order
  std::vector<fact> facts;
  std::vector<answer> answers;
};

outcome step(state&, event const&);  // the state becomes the next one

}  // namespace handoff
