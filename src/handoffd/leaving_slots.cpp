#include "leaving_slots.hpp"

#include <algorithm>

namespace handoff {

namespace {

constexpr duration glance{10};  // between two looks at a queue in which something waits
// Before it is asked who holds a queue that stands still: at first, and from time to time after that. Asking
// means looking at every process; not asking lets clients wait for a service that closed its listener.
constexpr duration first_patience{40};
constexpr duration most_patience{80};
constexpr duration longest_nap{1'000};  // between two looks at UDP flows
constexpr duration last_reads{50};      // of datagrams that came before the flows moved

// How long UDP flows must stay silent from now on; zero when they have been for long enough.
duration still_to_be_silent(steered_listener const& l, generation_number g) {
  auto idle = l.idle(g);
  return idle ? std::max(duration{}, l.settings().flow_timeout - *idle) : duration{};
}

}  // namespace

leaving_slots::leaving_slots(loop& on, post to_engine, is_held held, report tell)
    : loop_(on), post_(std::move(to_engine)), is_held_(std::move(held)), report_(std::move(tell)) {}

result<std::unique_ptr<leaving_slots>> leaving_slots::create(loop& on, post to_engine, is_held held,
                                                             report tell) {
  std::unique_ptr<leaving_slots> made(
      new leaving_slots(on, std::move(to_engine), std::move(held), std::move(tell)));
  auto arrivals = hangup_watch::create(on, hangup::arrival_too, [raw = made.get()](std::uint64_t key) {
    auto found = std::ranges::find(raw->slots_, key, &slot::key);
    if (found == raw->slots_.end()) return;
    found->resting = false;
    found->look_at = loop::now();
    raw->look();
  });
  if (!arrivals) return std::unexpected(std::move(arrivals).error());
  made->arrivals_ = std::move(*arrivals);
  return made;
}

void leaving_slots::settle(generation_number g, instant by, std::vector<steered_listener*> const& listeners) {
  instant now = loop::now();
  for (auto* l : listeners)
    slots_.push_back({.listener = l,
                      .of = g,
                      .key = ++last_key_,
                      .close_at = now + queues_settle_for,
                      .look_at = now,
                      .move_at = by - 2 * last_reads});
  settling_.push_back(g);
  look();
}

void leaving_slots::close(generation_number g, std::vector<steered_listener*> const& listeners) {
  forget(g);
  instant now = loop::now();
  for (auto* l : listeners) {
    if (l->settings().type != socket_type::stream) {  // what its socket has cannot move, what comes can
      if (auto shut = l->shut(g); !shut) report_(shut.error().message());
      continue;
    }
    slots_.push_back({.listener = l, .of = g, .key = ++last_key_, .close_at = now, .look_at = now});
  }
  look();
}

void leaving_slots::forget(generation_number g) {
  std::erase(settling_, g);
  std::erase_if(slots_, [&](slot const& s) {
    if (s.of == g) arrivals_->forget(s.key);
    return s.of == g;
  });
}

void leaving_slots::look() {
  instant now = loop::now();
  for (auto& s : slots_) {
    if (s.resting || s.look_at > now) continue;
    if (s.listener->settings().type == socket_type::stream)
      look_at_queue(s);
    else
      look_at_flows(s);
  }
  tell_settled();
  arm();
}

void leaving_slots::look_at_flows(slot& s) {
  instant now = loop::now();
  duration silence = still_to_be_silent(*s.listener, s.of);
  bool remembered = s.listener->remembers_flows();  // else they have moved already
  if (s.moved || (remembered && silence == duration{})) {
    s.resting = true;
  } else if (!remembered || now >= s.move_at) {
    if (auto shut = s.listener->shut(s.of); !shut) report_(shut.error().message());
    s.moved = true;
    s.look_at = now + last_reads;
  } else {
    s.look_at = std::min({now + silence, now + longest_nap, s.move_at});
  }
}

void leaving_slots::look_at_queue(slot& s) {
  instant now = loop::now();
  auto waiting = s.listener->queued(s.of);
  if (!waiting) {  // its service shut it: the kernel has moved what waited
    s.resting = true;
    return;
  }
  s.look_at = now + glance;
  if (*waiting == 0) return rest(s);
  bool closes = !s.closing && now >= s.close_at;
  s.closing = s.closing || closes;
  if (*waiting < s.waiting || s.waiting == 0 || closes) {
    s.since = now;
    s.patience = first_patience;
  }
  s.waiting = *waiting;
  if (!s.closing || !s.listener->moves_waiting()) return;
  if (now - s.since >= retire_after_) return move_on(s, "is not taken by anybody");
  if (now - s.since < s.patience) return;
  s.patience += std::min(s.patience, most_patience);
  if (!is_held_(s.of, *s.listener->fd(s.of))) move_on(s, "is held by nobody any more");
}

// Until something comes again: a handshake that was half-open when the traffic moved.
void leaving_slots::rest(slot& s) {
  s.waiting = 0;
  s.resting = true;
  if (!arrivals_->watch(s.key, *s.listener->fd(s.of))) s.resting = false;
}

void leaving_slots::move_on(slot& s, char const* why) {
  s.resting = true;
  report_(std::to_string(s.waiting) + " connections move on from generation " + std::to_string(number(s.of)) +
          ": the queue of '" + s.listener->name() + "' " + why);
  if (auto shut = s.listener->shut(s.of); !shut) report_(shut.error().message());
}

void leaving_slots::tell_settled() {
  std::erase_if(settling_, [&](generation_number g) {
    bool settled =
        std::ranges::all_of(slots_, [&](slot const& s) { return s.of != g || s.resting || s.closing; });
    if (settled) post_(traffic_settled{g});
    return settled;
  });
}

void leaving_slots::arm() {
  std::optional<instant> next;
  for (auto const& s : slots_)
    if (!s.resting) next = next ? std::min(*next, s.look_at) : s.look_at;
  alarm_.reset();
  if (!next) return;
  if (auto armed = loop_.at(*next, [this] { look(); })) alarm_ = std::move(*armed);
}

}  // namespace handoff
