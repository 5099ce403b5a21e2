// Who gets a place at the control socket when places are short. Pure, so that every case can be put in a
// table.
#pragma once

#include <core/ids.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace handoff {

enum class client_id : std::uint64_t {};  // never used twice

// How many clients there may be.
struct control_places {
  std::size_t total = 64;
  std::size_t for_one_user = 16;
  std::size_t reserved = 8;  // of the total, only for privileged users: root and our own
};

struct taken_place {
  client_id id{};
  uid_t uid = 0;
  bool busy = false;  // a call is in progress
  instant since;      // when it last made itself useful; bytes of an unfinished message do not count
};

struct admission {
  bool admitted = false;
  std::optional<client_id> evicted;  // must leave first

  bool operator==(admission const&) const = default;
};

// How long a client may be idle before it has to make room for a newcomer's first message.
constexpr duration fresh_for{1000};

// Whether a client of user `uid` gets a place when there is none left: of its own user when that one has used
// up its share, of anybody when it is privileged and all are taken. First goes whoever has been idle for
// longest; then, for a privileged newcomer only, so that an abort always gets in, the oldest call in
// progress; those who came just now and are about to say something go last.
admission admit(control_places const&, std::span<taken_place const>, uid_t uid, uid_t own_uid, instant now);

// Whoever has been idle for longest, if anybody is idle.
std::optional<client_id> longest_idle(std::span<taken_place const>);

}  // namespace handoff
