// The part of a configuration that decisions need: counts, durations and bounds, and no text but names.
#pragma once

#include <core/settings.hpp>

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// Frozen into a generation at its birth.
struct generation_policy {
  std::uint32_t instances = 1;
  readiness when = readiness::notify;
  duration ready_timeout = std::chrono::seconds(30);
  duration extend_max = std::chrono::minutes(10);
  duration probe_interval = std::chrono::milliseconds(500);
  duration alive_for = std::chrono::seconds(1);
  duration drain_timeout = std::chrono::seconds(60);
  duration kill_timeout = std::chrono::seconds(5);
  std::optional<duration> watchdog;
  bool steered = false;      // it has slots of its own, so there is a split to move
  std::uint32_t slots = 32;  // steered: how many generations can have theirs at once, this one included
  duration settle{0};        // before it is told to drain, for what waits in its slots and for its UDP flows

  bool operator==(generation_policy const&) const = default;
};

struct check_policy {
  std::string name;
  duration interval{};
  duration timeout{};
  std::uint32_t failures = 0;
  bool during_bake = false;

  bool operator==(check_policy const&) const = default;
};

struct metric_policy {
  std::string name;
  metric_kind kind = metric_kind::rate;
  metric_source source = metric_source::command;
  duration interval{};
  duration timeout{};
  std::optional<double> max;
  std::optional<double> ratio;
  double confidence = 0.99;
  std::uint32_t least = 100;

  bool operator==(metric_policy const&) const = default;
};

// The operator's: always the one read last.
struct operator_policy {
  restart_settings restart;
  rollout_settings rollout;
  std::vector<check_policy> checks;
  std::vector<metric_policy> metrics;
  std::array<std::optional<duration>, hook_kinds> hooks;  // timeout of each hook that is configured

  bool operator==(operator_policy const&) const = default;
};

generation_policy generation_policy_of(service_settings const&);
operator_policy operator_policy_of(settings const&);

}  // namespace handoff
