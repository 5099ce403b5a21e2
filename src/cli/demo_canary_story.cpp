#include "demo_canary_story.hpp"

#include <algorithm>
#include <utility>

namespace handoff::cli {

namespace {

constexpr std::int64_t span_of_rate_ns = 900'000'000;  // at least, between two counts a rate is taken from

}  // namespace

double release::measured_at_most() const {
  return all_at_most == 0 ? 0 : 100.0 * static_cast<double>(own_at_most) / static_cast<double>(all_at_most);
}

double release::seconds_tried() const {
  return tried_ns && judged_ns ? static_cast<double>(*judged_ns - *tried_ns) / 1e9 : 0;
}

canary_story::canary_story() {
  for (unsigned i = 0; i < releases_.size(); ++i) releases_[i].version = i + 1;
  releases_[first_version - 1].now = releases_[first_version - 1].most = full_weight;
}

canary_story::answers canary_story::answers_now() const {
  answers now;
  for (std::size_t i = 0; i < releases_.size(); ++i) now.of[i] = releases_[i].answered;
  return now;
}

// What was answered under the split so far belongs to it.
void canary_story::credit_split() {
  auto now = answers_now();
  for (std::size_t i = 0; i < releases_.size(); ++i) {
    release& one = releases_[i];
    if (one.now != one.most) continue;
    one.own_at_most += now.of[i] - at_split_.of[i];
    one.all_at_most += now.all() - at_split_.all();
  }
  at_split_ = now;
}

void canary_story::split(unsigned candidate, weight part, unsigned live, std::int64_t at_ns) {
  credit_split();
  for (release& one : releases_) {
    one.now = no_weight;
    if (one.version == live) one.now = weight{number(full_weight) - number(part)};
    if (one.version == candidate) one.now = part;
    if (one.now > one.most) {
      one.most = one.now;
      one.own_at_most = one.all_at_most = 0;
    }
    if (one.now > no_weight && !one.tried_ns) one.tried_ns = at_ns;
  }
}

void canary_story::end() { credit_split(); }

void canary_story::judged(unsigned version, std::string verdict, std::string reason, std::int64_t at_ns) {
  release& one = releases_.at(version - 1);
  one.verdict = std::move(verdict);
  one.reason = std::move(reason);
  one.judged_ns = at_ns;
  one.judged_at = one.now;
}

void canary_story::count(load::report const& told) {
  counts_ = told.counts;
  if (rate_ns_ == 0) rate_ns_ = told.started_ns;
  for (release& one : releases_) {
    auto found = told.versions.find(std::to_string(one.version));
    if (found == told.versions.end()) continue;
    one.errors = found->second.errors;
    one.answered = found->second.count + found->second.errors;
  }
  measure_rates(told.ended_ns);
}

void canary_story::measure_rates(std::int64_t at_ns) {
  if (at_ns - rate_ns_ < span_of_rate_ns) return;
  auto now = answers_now();
  double seconds = static_cast<double>(at_ns - rate_ns_) / 1e9;
  for (std::size_t i = 0; i < releases_.size(); ++i)
    releases_[i].a_second = static_cast<double>(now.of[i] - at_rate_.of[i]) / seconds;
  at_rate_ = now;
  rate_ns_ = at_ns;
}

std::uint64_t canary_story::failed_otherwise() const { return counts_.failed - of(bad_version).errors; }

bool canary_story::bad_was_caught() const {
  release const& bad = of(bad_version);
  return bad.verdict == "rolled_back" && bad.reason.starts_with("metric 'errors': ") &&
         !bad.reason.contains("inconclusive");
}

bool canary_story::good_was_promoted() const { return of(good_version).verdict == "promoted"; }

}  // namespace handoff::cli
