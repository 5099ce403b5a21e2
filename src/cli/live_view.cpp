#include "live_view.hpp"

#include <cli/durations.hpp>
#include <cli/experiment_report.hpp>
#include <cli/status_view.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace handoff::cli {

namespace {

constexpr duration span_of_rate{900};  // at least, between two counts that a rate is taken from

std::string time_left(json const& of) {
  auto left = span(of, "deadline_in_ms");
  return left ? humane(*left) + " left" : std::string();
}

std::string readiness_of(json const& generation) {
  auto const& all = list(generation, "instances");
  auto ready = std::ranges::count_if(all, [](json const& i) { return raw_text(i, "state") == "ready"; });
  return fmt::format("{} of {} ready", ready, all.size());
}

std::string counted(std::int64_t count, double a_second, char const* what) {
  return fmt::format("{} {}, {:.0f}/s", count, what, a_second);
}

// What stands behind the step under way: why it is not over.
std::string waits(json const& rollout) {
  if (member(rollout, "paused") == true) return "paused";
  std::string left = time_left(rollout), what = text(rollout, "waiting_for");
  if (what.empty()) return left;
  return left.empty() ? "waits for " + what : left + " for " + what;
}

// The steps of the plan with the present one marked, and under it what metrics say: all, or those around it
// that fit.
std::vector<std::string> plan_of(json const& rollout, stream const& to, std::size_t rows) {
  auto steps = lines(rollout, "steps");
  auto here = static_cast<std::size_t>(std::max<std::int64_t>(whole(rollout, "position").value_or(0), 0));
  auto gate = gate_of(rollout, to);
  gate.resize(std::min(gate.size(), rows / 2));
  std::size_t shown = std::min(steps.size(), rows - gate.size());
  std::size_t first = here > shown / 2 ? std::min(here - shown / 2, steps.size() - shown) : 0;
  std::vector<std::string> said;
  for (std::size_t i = first; i < first + shown; ++i) {
    if (i < here) said.push_back(to.paint(colour::faint, "    + " + steps[i]));
    if (i > here) said.push_back("      " + steps[i]);
    if (i != here) continue;
    std::string why = waits(rollout);
    said.push_back(to.paint(colour::bold, "    > " + steps[i]) + (why.empty() ? "" : " - " + why));
    for (auto const& line : gate) said.push_back("        " + line);
  }
  return said;
}

}  // namespace

std::map<std::int64_t, live_view::tally> live_view::count(json const& status) {
  constexpr std::int64_t most = std::int64_t{1} << 50;  // so that sums of what we are told do not overflow
  auto add = [=](std::optional<std::int64_t>& to, std::optional<std::int64_t> counted) {
    if (counted) to = std::min(to.value_or(0) + std::clamp<std::int64_t>(*counted, 0, most), most);
  };
  std::map<std::int64_t, tally> all;
  for (json const& listener : list(status, "listeners")) {
    for (json const& slot : list(listener, "slots")) {
      auto& of = all[whole(slot, "generation").value_or(0)];
      add(of.connections, whole(slot, "connections"));
      add(of.datagrams, whole(slot, "datagrams"));
    }
  }
  return all;
}

void live_view::measure(std::map<std::int64_t, tally> const& now_counted) {
  instant moment = now();
  auto passed = moment - counted_at_;
  if (passed < span_of_rate) return;
  double seconds = std::chrono::duration<double>(passed).count();
  rates_.clear();
  for (auto const& [generation, is] : now_counted) {
    auto was = counted_.find(generation);
    if (was == counted_.end()) continue;
    auto grown = [=](std::optional<std::int64_t> to, std::optional<std::int64_t> from) {
      return double(std::max<std::int64_t>(to.value_or(0) - from.value_or(0), 0)) / seconds;
    };
    rates_[generation] = {grown(is.connections, was->second.connections),
                          grown(is.datagrams, was->second.datagrams)};
  }
  counted_ = now_counted;
  counted_at_ = moment;
}

std::vector<std::string> live_view::generations(json const& status, stream const& to) const {
  auto all = count(status);
  table rows;
  for (json const& g : list(status, "generations")) {
    auto which = whole(g, "number").value_or(0);
    auto weight = part(g, "weight");
    std::string role = text(g, "role"), variant = variant_of(status, which), traffic, datagrams;
    if (auto found = all.find(which); found != all.end()) {
      auto measured = rates_.find(which);
      rate speed = measured == rates_.end() ? rate{} : measured->second;
      auto const& [connections, received] = found->second;
      if (connections) traffic = counted(*connections, speed.connections, "connections");
      if (received.value_or(0) > 0) datagrams = counted(*received, speed.datagrams, "datagrams");
    }
    rows.add(
        {{fmt::format("  generation {}", which), colour::bold},
         {variant.empty() ? role : role + ", " + variant, role == "live" ? colour::green : colour::yellow},
         {weight ? bar(*weight, to) : ""},
         {readiness_of(g)},
         {traffic},
         {datagrams},
         {time_left(g)}});
  }
  return rows.lines(to);
}

std::vector<std::string> live_view::draw(supervisor const& of, json const& status, stream const& to,
                                         std::size_t rows) {
  measure(count(status));
  std::vector<std::string> said{headline(of, status, to)};
  for (auto const& note : lines(status, "notes")) said.push_back(to.paint(colour::yellow, "  note: " + note));
  std::ranges::move(generations(status, to), std::back_inserter(said));
  json const& rollout = member(status, "rollout");
  if (!rollout.is_object()) {
    if (auto what = waiting(status); !what.empty()) said.push_back("  waiting for " + what);
    return said;
  }
  said.push_back(fmt::format("  rollout {}: {}, {} old, {}", whole(rollout, "number").value_or(0),
                             text(rollout, "strategy"), humane(span(rollout, "age_ms").value_or(duration(0))),
                             text(rollout, "stage")));
  std::size_t room = rows > said.size() ? rows - said.size() : 0;
  std::ranges::move(plan_of(rollout, to, room), std::back_inserter(said));
  if (auto next = whole(status, "pending")) said.push_back(fmt::format("  rollout {} comes next", *next));
  said.resize(std::min(said.size(), rows));
  return said;
}

}  // namespace handoff::cli
