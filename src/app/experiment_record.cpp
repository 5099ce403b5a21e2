#include "experiment_record.hpp"

#include <core/comparison.hpp>

#include <algorithm>
#include <array>

namespace handoff {

namespace {

std::string_view word(judgement is) {
  constexpr std::array<std::string_view, 3> words{"pass", "fail", "inconclusive"};
  return words[static_cast<std::size_t>(is)];
}

using count = std::optional<std::uint64_t>;

json since(count now, count before) {
  return now && before ? json(*now - std::min(*now, *before)) : json(nullptr);
}

// What is not counted everywhere has no sum.
void add(count& sum, count part) { sum = sum && part ? count(*sum + *part) : std::nullopt; }

json variant_record(std::string const& name, generation_number which, observations const& seen) {
  counted_traffic now, before;
  if (seen.before_experiment) {
    auto all = count_traffic(seen.listeners);
    now = all[which];
    if (auto found = seen.before_experiment->find(which); found != seen.before_experiment->end())
      before = found->second;
  }
  return {{"name", name},
          {"generation", number(which)},
          {"connections", since(now.connections, before.connections)},
          {"datagrams", since(now.datagrams, before.datagrams)}};
}

json measurement_record(metric_kind kind, measurement const& of) {
  bool rate = kind == metric_kind::rate;
  return {{"count", of.count()},
          {"failures", rate ? json(of.failures()) : json(nullptr)},
          {"mean", rate || of.count() == 0 ? json(nullptr) : json(of.mean())},
          {"variance", rate || of.count() < 2 ? json(nullptr) : json(of.variance())}};
}

json difference_record(metric_policy const& m, metric_progress const& progress) {
  auto found = compare(m, progress.candidate, progress.live);
  if (!found) return nullptr;
  return {{"difference", found->difference},
          {"low", found->low},
          {"high", found->high},
          {"chance", found->chance},
          {"significant", found->significant}};
}

}  // namespace

std::map<generation_number, counted_traffic> count_traffic(std::vector<observed_listener> const& all) {
  std::map<generation_number, counted_traffic> counted;
  for (auto const& listener : all)
    for (auto const& slot : listener.slots) {
      add(counted[slot.generation].connections, slot.connections);
      add(counted[slot.generation].datagrams, slot.datagrams);
    }
  return counted;
}

json variant_records(state const& s, rollout const& r, observations const& seen) {
  generation const* live = s.with_role(role::live);
  if (!r.is_experiment || live == nullptr) return nullptr;
  auto const& names = r.policy.rollout.variants;
  return json::array(
      {variant_record(names[0], live->number, seen), variant_record(names[1], r.candidate, seen)});
}

json metric_records(rollout const& r) {
  json records = json::array();
  for (std::size_t n = 0; n < r.metrics.size(); ++n) {
    auto const& policy = r.policy.metrics[n];
    auto const& progress = r.metrics[n];
    bool both = policy.ratio || r.is_experiment;
    records.push_back({{"name", policy.name},
                       {"kind", policy.kind == metric_kind::rate ? "rate" : "value"},
                       {"judgement", word(progress.last.is)},
                       {"why", progress.last.why},
                       {"bounded", policy.max || policy.ratio},
                       {"candidate", measurement_record(policy.kind, progress.candidate)},
                       {"live", both ? measurement_record(policy.kind, progress.live) : json(nullptr)},
                       {"unread", progress.unread.empty() ? json(nullptr) : json(progress.unread)},
                       {"difference", both ? difference_record(policy, progress) : json(nullptr)}});
  }
  return records;
}

}  // namespace handoff
