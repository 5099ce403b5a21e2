// What things are called: distinct types, so that no function takes two plain integers, and how they print.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace handoff {

using duration = std::chrono::milliseconds;
// A moment on the monotonic clock. The core compares moments and never asks for the time.
using instant = std::chrono::time_point<std::chrono::steady_clock, duration>;

enum class generation_number : std::uint32_t {};  // from 1; 0 means none
enum class rollout_number : std::uint32_t {};     // from 1; 0 means none
enum class command_number : std::uint32_t {};     // a hook or check in flight
enum class request_number : std::uint64_t {};     // who asked; 0 means nobody waits for the answer

// A part of the traffic, in hundredths of a percent.
enum class weight : std::uint32_t {};
constexpr weight no_weight{0};
constexpr weight full_weight{10'000};

constexpr generation_number no_generation{};

constexpr std::uint32_t number(generation_number n) { return static_cast<std::uint32_t>(n); }
constexpr std::uint32_t number(rollout_number n) { return static_cast<std::uint32_t>(n); }
constexpr std::uint32_t number(weight w) { return static_cast<std::uint32_t>(w); }
constexpr generation_number next(generation_number n) { return generation_number{number(n) + 1}; }
constexpr rollout_number next(rollout_number n) { return rollout_number{number(n) + 1}; }

// One process of a generation. A restart has the same index and the next incarnation, so that late news of
// the process before it is recognised as such.
struct instance_id {
  generation_number generation{};
  std::uint32_t index = 0;  // from 1
  std::uint32_t incarnation = 0;

  auto operator<=>(instance_id const&) const = default;
};

inline std::string to_string(instance_id const& id) {
  return std::to_string(number(id.generation)) + "." + std::to_string(id.index);
}

// As a configuration spells it: "1h30m", "30s", "500ms".
std::string spell(duration);

// "5 %", "0.25 %".
std::string spell(weight);

}  // namespace handoff
