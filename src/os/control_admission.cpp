#include "control_admission.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace handoff {

namespace {

// The one that can best be spared, nobody when `busy_too` is false and all are busy.
taken_place const* most_dispensable(std::span<taken_place const> among, bool busy_too, instant now) {
  enum class rank { idle, busy, fresh };
  auto rank_of = [&](taken_place const& p) {
    return p.busy ? rank::busy : now - p.since < fresh_for ? rank::fresh : rank::idle;
  };
  taken_place const* found = nullptr;
  for (auto const& p : among) {
    if (p.busy && !busy_too) continue;
    if (found == nullptr || std::pair(rank_of(p), p.since) < std::pair(rank_of(*found), found->since))
      found = &p;
  }
  return found;
}

}  // namespace

admission admit(control_places const& places, std::span<taken_place const> taken, uid_t uid, uid_t own_uid,
                instant now) {
  auto is_privileged = [&](uid_t who) { return who == 0 || who == own_uid; };
  bool privileged = is_privileged(uid);
  std::vector<taken_place> same_user;
  std::ranges::copy_if(taken, std::back_inserter(same_user),
                       [&](auto const& place) { return place.uid == uid; });
  auto strangers = std::ranges::count_if(taken, [&](auto const& place) { return !is_privileged(place.uid); });

  bool share_is_used_up = same_user.size() >= places.for_one_user;
  bool full = taken.size() >= places.total ||
              (!privileged && static_cast<std::size_t>(strangers) >= places.total - places.reserved);
  if (!share_is_used_up && !full) return {.admitted = true, .evicted = {}};

  bool from_anybody = privileged && !share_is_used_up;
  auto among = from_anybody ? taken : std::span<taken_place const>(same_user);
  auto const* leaves = most_dispensable(among, privileged, now);
  if (leaves == nullptr) return {};
  return {.admitted = true, .evicted = leaves->id};
}

std::optional<client_id> longest_idle(std::span<taken_place const> taken) {
  auto const* found = most_dispensable(taken, false, instant::max());
  if (found == nullptr) return std::nullopt;
  return found->id;
}

}  // namespace handoff
