#include "listener_table.hpp"

#include <os/launch.hpp>
#include <os/listening.hpp>

#include <poll.h>

#include <algorithm>
#include <random>
#include <utility>

namespace handoff {

namespace {

// Between two tries of what failed.
constexpr duration shortest_wait{100};
constexpr duration longest_wait{5'000};

// Between the last weight of a slot and its end. A listening socket that is closed while a handshake ends in
// it resets that connection now and then: measured with clients at full speed, 238 connections in 38,552
// closings at once and none in 1,245 after 1 ms. Handshakes over networks take longer.
constexpr duration last_handshakes{20};

bool same_door(listener_settings const& a, listener_settings const& b) {
  bool by_name = std::holds_alternative<systemd_address>(a.address);
  return a.address == b.address && a.type == b.type && a.options.interface == b.options.interface &&
         (!by_name || a.name == b.name);
}

// What can change while the socket stays open is the backlog.
bool needs_new_socket(socket_options a, socket_options const& b) {
  a.backlog = b.backlog;
  return a != b;
}

// Why a listener that is open cannot go on as it is now wanted; empty when it can.
std::string why_not_as(door const& open, listener_settings const& wanted, rollout_settings const& how) {
  std::string still = " while " + to_string(wanted) +
                      " stays open; give the listener another address, or stop and start the service";
  if (needs_new_socket(open.settings().options, wanted.options)) return "only the backlog can change" + still;
  if (open.settings().flow_timeout != wanted.flow_timeout && open.is_steered())
    return "flow-timeout cannot change" + still;
  if (open.settings().connection_id_byte != wanted.connection_id_byte && open.is_steered())
    return "connection-id-byte cannot change" + still;
  bool must = how.sharing == sharing::steered && wanted.steer;
  bool by_choice = how.sharing != sharing::automatic || wanted.steer != open.settings().steer;
  if (by_choice && open.is_steered() != (must || choose_sharing(wanted, how).steered.has_value()))
    return "how its generations share it cannot change" + still;
  return {};
}

std::string too_many() {
  return "the service has more than " + std::to_string(limit::steered_unasked) +
         " listeners; [rollout] sharing = 'steered' steers them all";
}

// A slot's key tells its listener and its generation; generation 0 is everybody's socket.
std::uint64_t key_of(std::size_t listener, generation_number g) {
  return (static_cast<std::uint64_t>(listener) << 32) | number(g);
}
std::size_t listener_of(std::uint64_t key) { return key >> 32; }
generation_number generation_of(std::uint64_t key) {
  return generation_number{static_cast<std::uint32_t>(key)};
}

}  // namespace

listener_table::listener_table(loop& on, post to_engine, report tell, std::vector<named_descriptor> adopted)
    : loop_(on),
      post_(std::move(to_engine)),
      report_(std::move(tell)),
      adopted_(std::move(adopted)),
      sticky_seed_(std::random_device{}()) {}

result<std::unique_ptr<listener_table>> listener_table::create(loop& on, post to_engine, report tell,
                                                               leaving_slots::is_held held,
                                                               std::vector<named_descriptor> adopted) {
  std::unique_ptr<listener_table> made(new listener_table(on, to_engine, tell, std::move(adopted)));
  auto hangups = hangup_watch::create(on, hangup::reading_too, [table = made.get()](std::uint64_t key) {
    table->post_(listener_shut{listener_of(key), generation_of(key)});
  });
  if (!hangups) return std::unexpected(hangups.error());
  made->hangups_ = std::move(*hangups);
  auto strays = hangup_watch::create(on, hangup::arrival_too, [table = made.get()](std::uint64_t key) {
    table->put_program_back(listener_of(key));
  });
  if (!strays) return std::unexpected(strays.error());
  made->strays_ = std::move(*strays);
  auto leaving = leaving_slots::create(on, std::move(to_engine), std::move(held), std::move(tell));
  if (!leaving) return std::unexpected(leaving.error());
  made->leaving_ = std::move(*leaving);
  return made;
}

// ---- opening and closing

bool listener_table::is_at(std::size_t listener, listener_settings const& wanted) const {
  return same_door(entries_.at(listener).way_in.settings(), wanted);
}

listener_table::entry* listener_table::find(listener_settings const& wanted) {
  auto found = std::ranges::find_if(
      entries_, [&](auto const& e) { return same_door(e.second.way_in.settings(), wanted); });
  return found == entries_.end() ? nullptr : &found->second;
}

result<std::vector<named_listener>> listener_table::configure(std::vector<listener_settings> const& wanted,
                                                              rollout_settings const& how) {
  std::vector<listener_settings> missing;
  for (auto const& w : wanted) {
    entry const* open = find(w);
    if (open == nullptr)
      missing.push_back(w);
    else if (auto why = why_not_as(open->way_in, w, how); !why.empty())
      return plain_failure("listener '" + w.name + "': " + why);
  }
  bool many =
      how.sharing == sharing::automatic && !needs_steering(how) && wanted.size() > limit::steered_unasked;
  auto opened = open(missing, how, many);
  if (!opened) return std::unexpected(opened.error());
  for (auto& way_in : *opened) add(std::move(way_in));

  configured_.clear();
  std::vector<named_listener> all;
  for (auto const& w : wanted) {
    auto at = std::ranges::find_if(entries_,
                                   [&](auto const& e) { return same_door(e.second.way_in.settings(), w); });
    at->second.backlog = w.options.backlog;
    configured_.insert(at->first);
    all.push_back({w.name, at->first});
  }
  close_unused();
  return all;
}

result<std::vector<door>> listener_table::open(std::vector<listener_settings> const& missing,
                                               rollout_settings const& how, bool many) {
  std::vector<door> opened;
  std::vector<listener_settings> to_share;
  for (auto const& l : missing) {
    auto choice = many ? sharing_choice{{}, too_many()} : choose_sharing(l, how);
    bool wanted = how.sharing == sharing::steered && l.steer;
    if (!choice.steered && wanted)
      return plain_failure("listener '" + l.name + "' cannot be steered: " + choice.why +
                           " ('steer = false' lets its generations share it)");
    if (!choice.steered) {
      to_share.push_back(l);
      continue;
    }
    auto steered = steered_listener::open(l, sticky_seed_, *choice.steered);
    if (!steered) return std::unexpected(std::move(steered).error());
    opened.emplace_back(std::move(*steered), std::move(choice.why));
  }
  auto shared = open_listeners(to_share, adopted_);
  if (!shared) return std::unexpected(std::move(shared).error());
  for (auto& l : *shared) {
    std::string why = many ? too_many() : choose_sharing(l.settings(), how).why;
    opened.emplace_back(std::move(l), std::move(why));
  }
  return opened;
}

void listener_table::add(door way_in) {
  std::size_t number = next_++;
  bool steered = way_in.is_steered();
  auto backlog = way_in.settings().options.backlog;
  entries_.emplace(number, entry{std::move(way_in), backlog, 0});
  if (steered)
    watch_anchor(number);
  else
    watch_shared(number);
}

void listener_table::keep(generation_number g, std::vector<named_listener> const& listeners) {
  for (auto const& l : listeners) users_[g].insert(l.listener);
}

void listener_table::drop(generation_number g) {
  users_.erase(g);
  close_unused();
}

void listener_table::close_unused() {
  std::erase_if(entries_, [&](auto& e) {
    bool used = configured_.contains(e.first) ||
                std::ranges::any_of(users_, [&](auto const& u) { return u.second.contains(e.first); });
    if (used) return false;
    hangups_->forget(key_of(e.first, no_generation));
    strays_->forget(key_of(e.first, no_generation));
    return true;
  });
}

// ---- slots

result<> listener_table::add_slots(generation_number g, std::vector<named_listener> const& listeners) {
  with_slots_.insert(g);
  for (auto const& l : listeners) {
    steered_listener* group = entries_.at(l.listener).way_in.steered();
    if (group == nullptr || group->fd(g)) continue;  // two names may mean one address
    // Of those that only wait for late handshakes, and wait anew in each successor, the oldest makes room.
    while (group->is_full() && !removals_.empty()) remove_slots_now(removals_.begin()->first);
    if (auto added = group->add(g); !added) {
      remove_slots_now(g);
      return added;
    }
    watch_slot(l.listener, g);
  }
  return {};
}

void listener_table::remove_slots(generation_number g) {
  leaving_->forget(g);
  for (auto const& [number, e] : entries_) hangups_->forget(key_of(number, g));
  for (auto* group : with_slot(g)) group->retire(g);
  auto later = loop_.at(loop::now() + last_handshakes, [this, g] { remove_slots_now(g); });
  if (!later) return remove_slots_now(g);
  removals_[g] = std::move(*later);
}

void listener_table::remove_slots_now(generation_number g) {
  auto mine = removals_.extract(g);  // it is running: to the end of this call
  for (auto& [number, e] : entries_) {
    steered_listener* group = e.way_in.steered();
    if (group == nullptr) continue;
    hangups_->forget(key_of(number, g));
    auto left = group->remove(g);
    auto tell = [&](std::uint32_t lost, std::string const& what) {
      if (lost > 0)
        report_("generation " + std::to_string(handoff::number(g)) + " left " + std::to_string(lost) + what);
    };
    tell(left.unread_datagrams, " datagrams of '" + group->name() + "' unread");
    tell(left.unaccepted_connections, " connections of '" + group->name() + "' unaccepted: they were reset");
  }
  with_slots_.erase(g);
}

std::vector<steered_listener*> listener_table::with_slot(generation_number g) {
  std::vector<steered_listener*> all;
  for (auto& [number, e] : entries_)
    if (auto* group = e.way_in.steered(); group != nullptr && group->fd(g)) all.push_back(group);
  return all;
}

void listener_table::split(traffic_split const& s) {
  split_ = s;
  for (auto& [number, e] : entries_) divide(number);
  restore_backlogs();
}

void listener_table::divide(std::size_t number) {
  auto found = entries_.find(number);
  auto* group = found == entries_.end() ? nullptr : found->second.way_in.steered();
  if (group == nullptr) return;
  strays_->forget(key_of(number, no_generation));  // another anchor may take its place
  if (auto applied = group->apply(split_); !applied)
    try_again(key_of(number, no_generation), applied.error(), [this, number] { divide(number); });
  watch_anchor(number);
}

// Says so once in a row of failures, since the last of them may be far away.
void listener_table::try_again(std::uint64_t key, error const& why, std::function<void()> what) {
  retry& r = retries_[key];
  if (r.why != why.message()) report_(why.message() + "; tried again");
  r.why = why.message();
  r.wait = std::min(std::max(2 * r.wait, shortest_wait), longest_wait);
  auto armed = loop_.at(loop::now() + r.wait, [this, key, what = std::move(what)] {
    auto mine = std::exchange(retries_.at(key).alarm, {});  // it is running: to the end of this call
    what();
    if (auto found = retries_.find(key); found != retries_.end() && !found->second.alarm)
      retries_.erase(found);
  });
  if (armed) r.alarm = std::move(*armed);
}

void listener_table::settle(generation_number g, instant by) { leaving_->settle(g, by, with_slot(g)); }

void listener_table::close_slots(generation_number g) {
  for (auto const& [number, e] : entries_) hangups_->forget(key_of(number, g));
  leaving_->close(g, with_slot(g));
}

auto listener_table::summary(std::vector<named_listener> const& listeners) const -> sharing_summary {
  sharing_summary all;
  for (auto const& l : listeners) {
    door const& d = entries_.at(l.listener).way_in;
    if (auto const* group = d.steered()) {
      bool flows = group->settings().type == socket_type::datagram && group->remembers_flows();
      all.any_steered = true;
      all.any_flows = all.any_flows || flows;
      all.slots = std::min(all.slots, group->most_slots());
    }
    bool meant = !d.is_steered() && d.settings().steer;
    if (meant && all.not_steered.empty())
      all.not_steered = "listener '" + l.name + "' is shared (" + d.why_shared() + ")";
  }
  return all;
}

// ---- probes

auto listener_table::open_probe(std::size_t number, generation_number to) -> result<probe_way> {
  auto found = entries_.find(number);
  auto* group = found == entries_.end() ? nullptr : found->second.way_in.steered();
  if (group == nullptr || !group->fd(to))
    return plain_failure("generation " + std::to_string(handoff::number(to)) +
                         " has no listener of its own to be probed at");
  auto near = bind_probe(group->settings());
  if (!near) return std::unexpected(std::move(near.error()));
  if (auto ruled = group->add_probe(near->from, to); !ruled) return std::unexpected(ruled.error());
  return probe_way{std::move(*near), number, to, found->second.reopened};
}

bool listener_table::close_probe(probe_way const& way) {
  auto found = entries_.find(way.listener);
  auto* group = found == entries_.end() ? nullptr : found->second.way_in.steered();
  if (group == nullptr) return false;
  if (auto removed = group->remove_probe(way.near.from); !removed) report_(removed.error().message());
  auto slot = group->fd(way.to);
  if (!slot || found->second.reopened != way.reopened) return false;
  pollfd door{*slot, 0, 0};  // hangs up when a service shut it
  return ::poll(&door, 1, 0) == 0;
}

// ---- what services do to listeners

void listener_table::watch_shared(std::size_t number) {
  auto const* socket = entries_.at(number).way_in.shared();
  if (!socket->can_be_reopened()) return;
  if (auto watched = hangups_->watch(key_of(number, no_generation), socket->fd()); !watched)
    report_("watching listener '" + socket->name() + "': " + watched.error().message());
}

void listener_table::watch_slot(std::size_t number, generation_number g) {
  auto const* group = entries_.at(number).way_in.steered();
  if (group->settings().type != socket_type::stream) return;  // a UDP socket never hangs up
  if (auto watched = hangups_->watch(key_of(number, g), *group->fd(g)); !watched)
    report_("watching listener '" + group->name() + "': " + watched.error().message());
}

void listener_table::watch_anchor(std::size_t number) {
  auto const* group = entries_.at(number).way_in.steered();
  if (!group->anchor()) return;
  // Nobody has a slot yet, or any more: then it is the anchor's part to hold what comes.
  if (with_slots_.empty()) return;
  if (auto watched = strays_->watch(key_of(number, no_generation), *group->anchor()); !watched)
    report_("watching listener '" + group->name() + "': " + watched.error().message());
}

void listener_table::put_program_back(std::size_t number) {
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  auto* group = found->second.way_in.steered();
  if (group->intact()) return;
  strays_->forget(key_of(number, no_generation));
  if (auto done = group->reattach(); !done)
    return try_again(key_of(number, no_generation), done.error(),
                     [this, number] { put_program_back(number); });
  post_(steering_taken{number});
  if (split_ == traffic_split{}) return watch_anchor(number);  // it chooses as a predecessor left it
  divide(number);
}

void listener_table::reopen(std::size_t number, generation_number slot, generation_number by) {
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  if (!found->second.way_in.is_steered()) return reopen_shared(number, by);
  auto* group = found->second.way_in.steered();
  if (!group->fd(slot)) return;
  strays_->forget(key_of(number, no_generation));
  auto reopened = group->reopen(slot);
  watch_anchor(number);
  if (!reopened) {
    if (is_transient(reopened.error()))
      return try_again(key_of(number, slot), reopened.error(),
                       [this, number, slot, by] { reopen(number, slot, by); });
    report_(reopened.error().message());
    if (!is_listening(*group->fd(slot)).value_or(false)) return;
  }
  ++found->second.reopened;
  watch_slot(number, slot);
  post_(listener_reopened{number, by});
}

void listener_table::reopen_shared(std::size_t number, generation_number by) {
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  entry& e = found->second;
  hangups_->forget(key_of(number, no_generation));
  auto how = e.way_in.shared()->reopen();
  if (!how)
    return try_again(key_of(number, no_generation), how.error(),
                     [this, number, by] { reopen_shared(number, by); });
  ++e.reopened;
  watch_shared(number);
  if (*how == reopening::replaced) post_(listener_replaced{number});
  post_(listener_reopened{number, by});
}

void listener_table::restore_backlogs() {
  for (auto& [number, e] : entries_)
    if (auto restored = e.way_in.restore_backlog(e.backlog); !restored) report_(restored.error().message());
}

// ---- what there is to see

std::string listener_table::name(std::size_t listener) const {
  auto found = entries_.find(listener);
  return found == entries_.end() ? "?" : found->second.way_in.name();
}

std::vector<observed_listener> listener_table::observe() const {
  std::vector<generation_number> generations(with_slots_.begin(), with_slots_.end());
  std::vector<observed_listener> all;
  for (auto const& [number, e] : entries_) {
    all.push_back(e.way_in.observe(generations));
    all.back().reopened = e.reopened;
    all.back().backlog = e.backlog;
  }
  return all;
}

bool listener_table::counts(traffic_count what, std::size_t listener) const {
  door const& d = entries_.at(listener).way_in;
  auto type = what == traffic_count::datagrams ? socket_type::datagram : socket_type::stream;
  if (!d.is_steered() || d.settings().type != type) return false;
  return what == traffic_count::queued || d.steered()->method() != steering_method::classic;
}

namespace {

std::optional<std::uint64_t> count_of(observed_slot const& slot, traffic_count what) {
  switch (what) {
    case traffic_count::connections:
      return slot.connections;
    case traffic_count::datagrams:
      return slot.datagrams;
    case traffic_count::queued:
      return slot.queued;
  }
  return {};
}

}  // namespace

std::optional<std::uint64_t> listener_table::counted(traffic_count what, generation_number g,
                                                     std::optional<std::size_t> listener) const {
  std::optional<std::uint64_t> sum;
  for (auto const& [number, e] : entries_) {
    if (!counts(what, number) || (listener && *listener != number)) continue;
    for (auto const& slot : e.way_in.observe({g}).slots) {
      sum = sum.value_or(0) + count_of(slot, what).value_or(0);
    }
  }
  return sum;
}

}  // namespace handoff
