// How listeners go over to a successor.
#include <os/inheritance.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/listener_table.hpp>
#include <handoffd/manifest.hpp>

#include <algorithm>
#include <cstdint>

namespace handoff {

namespace {

// By its cookie, since a slot may change its owner and an anchor its socket. Where the kernel does not tell
// that, at least two that are open now have two names.
descriptor_name add_socket(manifest& to, std::string const& listener, int fd, std::uint64_t cookie) {
  std::string const which = cookie != 0 ? std::to_string(cookie) : "0." + std::to_string(fd);
  return to.add(listener + ".socket." + which, fd);
}

void keep_group(steered_listener const& group, std::string const& name, kept_listener& to, manifest& with) {
  auto seen = group.group();
  to.steered = true;
  to.classic = group.method() == steering_method::classic;
  to.order = seen.order;
  if (seen.anchor) to.anchor = add_socket(with, name, *seen.anchor, cookie_of(*seen.anchor));
  for (std::size_t i = 0; i < seen.program.size(); ++i)
    to.program.push_back(with.add(
        name + ".program." + std::to_string(seen.program_id) + "." + std::to_string(i), seen.program[i]));
  for (auto const& s : seen.slots) {
    auto const cookie = cookie_of(s.socket);
    to.slots.push_back(
        {s.index, s.owner, s.shut, s.retired, add_socket(with, name, s.socket, cookie), cookie});
  }
}

inherited_group take_group(kept_listener const& kept, inherited_descriptors& from) {
  inherited_group left{.slots = {}, .order = kept.order, .anchor = from.take(kept.anchor), .program = {}};
  for (std::size_t i = 0; i < std::min(kept.program.size(), left.program.size()); ++i)
    left.program[i] = from.take(kept.program[i]);
  for (auto const& s : kept.slots)
    if (auto socket = from.take(s.socket))
      left.slots.push_back({s.index, s.owner, s.shut, s.retired, std::move(socket)});
  return left;
}

// Of a listener that nobody held any more: who is to be launched again needs them.
result<> open_slots(kept_listener const& kept, steered_listener& of) {
  for (auto const& s : kept.slots)
    if (auto added = s.owner == no_generation || s.shut ? result<>() : of.add(s.owner); !added) return added;
  return {};
}

result<door> open_door(kept_listener const& kept, std::uint32_t sticky_seed, inherited_descriptors& from) {
  if (!kept.steered) {
    auto socket = from.take(kept.socket);
    auto made = socket ? listener::adopt(kept.settings, std::move(socket)) : listener::open(kept.settings);
    if (!made) return std::unexpected(std::move(made).error());
    return door(std::move(*made), kept.why);
  }
  auto method = kept.classic ? steering_method::classic : steering_method::ebpf;
  auto group = take_group(kept, from);
  bool lost = !group.anchor && group.slots.empty();
  auto made = lost ? steered_listener::open(kept.settings, sticky_seed, method)
                   : steered_listener::adopt(kept.settings, sticky_seed, method, std::move(group));
  if (!made) return std::unexpected(std::move(made).error());
  if (auto added = lost ? open_slots(kept, **made) : result<>(); !added)
    return std::unexpected(std::move(added).error());
  return door(std::move(*made), kept.why);
}

}  // namespace

void listener_table::keep(kept_listeners& to, manifest& with) const {
  to.next = next_;
  to.sticky_seed = sticky_seed_;
  to.configured.assign(configured_.begin(), configured_.end());
  to.with_slots.assign(with_slots_.begin(), with_slots_.end());
  for (auto const& [g, used] : users_) to.users[g].assign(used.begin(), used.end());
  for (auto const& [number, e] : entries_) {
    kept_listener kept{.number = number, .settings = e.way_in.settings(), .why = e.way_in.why()};
    kept.backlog = e.backlog;
    kept.reopened = e.reopened;
    std::string name = "listener." + std::to_string(number);
    if (auto const* shared = e.way_in.shared()) {
      kept.cookie = cookie_of(shared->fd());
      kept.socket = add_socket(with, name, shared->fd(), kept.cookie);
    } else {
      keep_group(*e.way_in.steered(), name, kept, with);
    }
    to.open.push_back(std::move(kept));
  }
  // Their names may be one: systemd passes all sockets of a unit under its name.
  for (auto const& one : adopted_) {
    auto const cookie = cookie_of(one.fd.get());
    auto name = "unclaimed." + one.name + "." + std::to_string(cookie);
    to.unclaimed.push_back(
        {.name = one.name, .descriptor = with.add(std::move(name), one.fd.get()), .key = cookie});
  }
}

result<> listener_table::adopt(kept_listeners const& left, inherited_descriptors& from) {
  next_ = left.next;
  sticky_seed_ = left.sticky_seed;
  configured_ = {left.configured.begin(), left.configured.end()};
  with_slots_ = {left.with_slots.begin(), left.with_slots.end()};
  for (auto const& [g, used] : left.users) users_[g] = {used.begin(), used.end()};
  for (auto const& kept : left.open) {
    auto way_in = open_door(kept, left.sticky_seed, from);
    if (!way_in) return std::unexpected(std::move(way_in).error());
    entries_.emplace(kept.number, entry{std::move(*way_in), kept.backlog, kept.reopened});
    watch_all(kept.number);
  }
  for (auto const& one : left.unclaimed)
    if (auto fd = from.take(one.descriptor)) adopted_.push_back({one.name, std::move(fd)});
  return {};
}

// A socket that an instance has would go on in the kernel beside one that nobody accepts from.
result<> listener_table::open_missing_slots(kept_listeners const& left,
                                            std::function<bool(generation_number)> const& is_needed) {
  for (auto const& l : left.open) {
    auto* group = entries_.at(l.number).way_in.steered();
    for (auto const& s : l.slots) {
      bool missing =
          group != nullptr && s.owner != no_generation && !s.shut && !s.retired && !group->fd(s.owner);
      if (!missing || !is_needed(s.owner)) continue;
      if (auto added = group->add(s.owner); !added) return added;
      watch_slot(l.number, s.owner);
    }
  }
  return {};
}

void listener_table::watch_all(std::size_t number) {
  auto const* group = entries_.at(number).way_in.steered();
  if (group == nullptr) return watch_shared(number);
  watch_anchor(number);
  for (auto const& s : group->group().slots)
    if (s.owner != no_generation && !s.shut) watch_slot(number, s.owner);
}

// Slots that were about to be removed when the predecessor ended.
void listener_table::remove_slots_but(std::vector<generation_number> const& known) {
  auto all = with_slots_;
  for (auto g : all)
    if (std::ranges::find(known, g) == known.end()) remove_slots(g);
}

}  // namespace handoff
