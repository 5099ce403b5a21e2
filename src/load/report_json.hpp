// A load report for people and programs.
#pragma once

#include "tally.hpp"

#include <nlohmann/json.hpp>

namespace handoff::load {

// total, failed, failures {refused, reset, short, wrong, timeout, other}, own, retried, unsent, latency_ms
// {p50, p90, p99, p99.9, max}, windows {NAME: {requests, failed, latency_ms}}, versions [{version, count,
// first_ns, last_ns}] by time, examples [{at_ns, kind, what}], started_ns, wall_s, requests_per_s.
nlohmann::ordered_json to_json(report const&);

// The counters' part of it.
nlohmann::ordered_json to_json(counters const&);

}  // namespace handoff::load
