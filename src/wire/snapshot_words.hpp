// How the plain types of a snapshot are written: enumerations by word, so that their order may change, and
// all others member by member, of which none can be forgotten. Throws exceptions; only wire/snapshot.cpp
// includes it.
#pragma once

#include <core/state.hpp>
#include <wire/completeness.hpp>
#include <wire/snapshot_reading.hpp>
#include <wire/snapshot_writing.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

namespace handoff {

#define HANDOFF_WORDS(TYPE, ...)                                                \
  template <>                                                                   \
  struct words_of<TYPE> {                                                       \
    static constexpr auto all = std::to_array<std::string_view>({__VA_ARGS__}); \
    static_assert(has_enumerators<TYPE, all.size()>(), "each one has a word");  \
  };

HANDOFF_WORDS(instance_phase, "queued", "launching", "starting", "ready", "settling", "draining", "killed",
              "gone")
HANDOFF_WORDS(stopping, "no", "yes", "wanted-again")
HANDOFF_WORDS(role, "candidate", "live", "standby", "draining")
HANDOFF_WORDS(cause, "start", "signal", "request", "retry", "rollback", "repair")
HANDOFF_WORDS(rollout_phase, "waiting-for-room", "preparing", "executing")
HANDOFF_WORDS(command::purpose, "hook", "check", "metric", "probe")
HANDOFF_WORDS(lifecycle, "running", "stopping", "stopped")
HANDOFF_WORDS(verdict_kind, "promoted", "rolled-back", "refused")
HANDOFF_WORDS(judgement, "pass", "fail", "inconclusive")
HANDOFF_WORDS(socket_type, "stream", "datagram", "seqpacket")
HANDOFF_WORDS(probe_kind, "http", "tcp", "page")
HANDOFF_WORDS(readiness, "notify", "exec", "alive", "http", "tcp")
HANDOFF_WORDS(output_kind, "capture", "journal", "inherit", "null", "file")
HANDOFF_WORDS(strategy, "handoff", "rolling", "blue-green", "canary", "experiment")
HANDOFF_WORDS(sharing, "auto", "steered", "shared")
HANDOFF_WORDS(side, "live", "candidate")
HANDOFF_WORDS(metric_kind, "rate", "value", "mean", "flow")
HANDOFF_WORDS(metric_source, "command", "page", "steering")
HANDOFF_WORDS(traffic_count, "connections", "datagrams", "queued")
HANDOFF_WORDS(hook, "preflight", "ready", "switched", "drained", "failed")
HANDOFF_WORDS(log_level, "debug", "info", "warning", "error")

#undef HANDOFF_WORDS

#define HANDOFF_WRITE_MEMBER(NAME) write_member(to, #NAME, from.NAME);
#define HANDOFF_READ_MEMBER(NAME) read_member(from, #NAME, to.NAME);
#define HANDOFF_KEPT(TYPE, ...)                                                         \
  static_assert(has_members<TYPE, count_names(#__VA_ARGS__)>(), "each member is kept"); \
  inline void write_members(cbor_writer& to, TYPE const& from) {                        \
    to.begin_map(count_names(#__VA_ARGS__));                                            \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(HANDOFF_WRITE_MEMBER, __VA_ARGS__))        \
  }                                                                                     \
  inline void from_json(nlohmann::json const& from, TYPE& to) {                         \
    expect_in_snapshot(from.is_object(), "this is no object");                          \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(HANDOFF_READ_MEMBER, __VA_ARGS__))         \
  }

}  // namespace handoff
