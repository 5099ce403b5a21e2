#include "tally.hpp"

#include <algorithm>
#include <ctime>

namespace handoff::load {

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

std::string_view to_string(failure_kind kind) {
  constexpr std::array<std::string_view, failure_kinds> names = {"refused", "reset",   "short",
                                                                 "wrong",   "timeout", "other"};
  return names[static_cast<std::size_t>(kind)];
}

void counters::add(counters const& other) {
  total += other.total;
  failed += other.failed;
  for (std::size_t i = 0; i < by_kind.size(); ++i) by_kind[i] += other.by_kind[i];
  own += other.own;
  retried += other.retried;
  unsent += other.unsent;
}

window& report::window_at(std::size_t index) {
  if (windows.size() <= index) windows.resize(index + 1);
  return windows[index];
}

histogram report::latency() const {
  histogram all;
  for (window const& one : windows) all.merge(one.latency);
  return all;
}

void report::succeeded(std::size_t window_index, std::int64_t latency_ns) {
  ++counts.total;
  window_at(window_index).latency.record(latency_ns);
}

void report::failed(std::size_t window_index, failure_note note) {
  ++counts.total;
  ++counts.failed;
  ++counts.by_kind[static_cast<std::size_t>(note.kind)];
  ++window_at(window_index).failed;
  if (notes.size() < notes_max) notes.push_back(std::move(note));
}

bool report::saw(std::string_view version, std::int64_t at_ns, bool went_well) {
  auto found = versions.find(version);
  if (found == versions.end() && versions.size() >= versions_max)
    found = versions.try_emplace("(more)").first;
  bool is_new = found == versions.end();
  if (is_new) found = versions.emplace(version, version_seen{}).first;
  version_seen& seen = found->second;
  if (seen.count + seen.errors == 0) seen.first_ns = at_ns;
  ++(went_well ? seen.count : seen.errors);
  seen.last_ns = at_ns;
  return is_new;
}

void report::merge(report const& other) {
  counts.add(other.counts);
  for (auto const& [version, seen] : other.versions) {
    auto [mine, is_new] = versions.try_emplace(version, seen);
    if (is_new) continue;
    mine->second.count += seen.count;
    mine->second.errors += seen.errors;
    mine->second.first_ns = std::min(mine->second.first_ns, seen.first_ns);
    mine->second.last_ns = std::max(mine->second.last_ns, seen.last_ns);
  }
  notes.insert(notes.end(), other.notes.begin(), other.notes.end());
  std::ranges::sort(notes, {}, &failure_note::at_ns);
  if (notes.size() > notes_max) notes.resize(notes_max);
  for (std::size_t i = 0; i < other.windows.size(); ++i) {
    window& mine = window_at(i);
    mine.failed += other.windows[i].failed;
    mine.latency.merge(other.windows[i].latency);
  }
}

}  // namespace handoff::load
