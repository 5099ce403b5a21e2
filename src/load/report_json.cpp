#include "report_json.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace handoff::load {

namespace {

using json = nlohmann::ordered_json;

double ms(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e6; }

json latency(histogram const& h) {
  return {{"p50", ms(h.quantile(0.5))},
          {"p90", ms(h.quantile(0.9))},
          {"p99", ms(h.quantile(0.99))},
          {"p99.9", ms(h.quantile(0.999))},
          {"max", ms(h.max())}};
}

json versions(report const& r) {
  std::vector<std::pair<std::string, version_seen>> sorted(r.versions.begin(), r.versions.end());
  std::ranges::sort(sorted, {}, [](auto const& one) { return one.second.first_ns; });
  json out = json::array();
  for (auto const& [version, seen] : sorted) {
    out.push_back({{"version", version},
                   {"count", seen.count},
                   {"errors", seen.errors},
                   {"first_ns", seen.first_ns},
                   {"last_ns", seen.last_ns}});
  }
  return out;
}

json windows(report const& r) {
  json out = json::object();
  for (std::size_t i = 0; i < r.window_names.size(); ++i) {
    window const& one = r.windows[i];
    out[r.window_names[i]] = {{"requests", one.latency.count() + one.failed},
                              {"failed", one.failed},
                              {"latency_ms", latency(one.latency)}};
  }
  return out;
}

json examples(report const& r) {
  json out = json::array();
  for (failure_note const& note : r.notes) {
    out.push_back({{"at_ns", note.at_ns}, {"kind", to_string(note.kind)}, {"what", note.what}});
  }
  return out;
}

}  // namespace

json to_json(counters const& c) {
  json kinds = json::object();
  for (std::size_t i = 0; i < failure_kinds; ++i) {
    kinds[std::string(to_string(static_cast<failure_kind>(i)))] = c.by_kind[i];
  }
  return {{"total", c.total}, {"failed", c.failed},   {"failures", kinds},
          {"own", c.own},     {"retried", c.retried}, {"unsent", c.unsent}};
}

json to_json(report const& r) {
  json out = to_json(r.counts);
  double wall = static_cast<double>(r.ended_ns - r.started_ns) / 1e9;
  out["latency_ms"] = latency(r.latency());
  out["windows"] = windows(r);
  out["versions"] = versions(r);
  out["examples"] = examples(r);
  out["started_ns"] = r.started_ns;
  out["wall_s"] = wall;
  out["requests_per_s"] = wall > 0 ? static_cast<double>(r.counts.total) / wall : 0.0;
  return out;
}

}  // namespace handoff::load
