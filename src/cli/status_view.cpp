#include "status_view.hpp"

#include <cli/durations.hpp>
#include <cli/experiment_report.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace handoff::cli {

namespace {

constexpr std::size_t most_pids = 4;  // in the overview

std::string shown(std::optional<std::int64_t> number) { return number ? std::to_string(*number) : "-"; }
std::string shown(std::optional<duration> s) { return s ? humane(*s) : "-"; }

colour colour_of_state(std::string_view state) {
  if (state == "serving") return colour::green;
  return state == "degraded" || state == "stopping" ? colour::red : colour::yellow;
}

json const& live_generation(json const& status) {
  static json const nothing;
  auto live = whole(status, "live");
  for (json const& g : list(status, "generations")) {
    if (live && whole(g, "number") == live) return g;
  }
  return nothing;
}

std::string pids_of(json const& generation) {
  std::vector<std::int64_t> pids;
  for (json const& instance : list(generation, "instances")) {
    if (auto pid = whole(instance, "pid")) pids.push_back(*pid);
  }
  if (pids.empty()) return "-";
  std::size_t more = pids.size() > most_pids ? pids.size() - most_pids : 0;
  pids.resize(pids.size() - more);
  return fmt::format("{}{}", fmt::join(pids, ","), more > 0 ? fmt::format(" +{}", more) : "");
}

std::string queued_in(json const& status) {
  std::optional<std::int64_t> sum;
  for (json const& l : list(status, "listeners")) {
    if (auto queued = whole(l, "queued"))
      sum = sum.value_or(0) + std::clamp<std::int64_t>(*queued, 0, 1 << 30);
  }
  return shown(sum);
}

std::vector<cell> row_of(asked_status const& one) {
  if (!one.told)
    return {{one.of.name}, {"-"}, {"unknown", colour::red}, {"-"}, {"-"}, {"-"}, {one.told.error().what}};
  json const& status = *one.told;
  json const& live = live_generation(status);
  std::string state = text(status, "state");
  std::string generation = shown(whole(status, "live"));
  if (auto next = whole(member(status, "rollout"), "generation")) generation += fmt::format(" > {}", *next);
  return {{one.of.name},
          {generation},
          {state, colour_of_state(state)},
          {pids_of(live)},
          {shown(span(live, "age_ms"))},
          {queued_in(status)},
          {waiting(status)}};
}

void add_table(std::vector<std::string>& to, table const& rows, stream const& s) {
  for (auto& line : rows.lines(s)) to.push_back("  " + line);
}

void add_generations(std::vector<std::string>& said, json const& status, stream const& to) {
  table rows({"GENERATION", "INSTANCE", "PID", "STATE", "WEIGHT", "AGE", "RESTARTS", "STATUS"});
  for (json const& g : list(status, "generations")) {
    std::string role = text(g, "role"), file = text(g, "executable_state");
    std::string about = text(g, "executable");
    if (file != "same") about += " (" + file + (file == "lost" ? ")" : " on disk)");
    if (auto left = span(g, "deadline_in_ms")) about += ", for at most " + humane(*left);
    auto weight = part(g, "weight");
    std::string variant = variant_of(status, whole(g, "number").value_or(0));
    rows.add(
        {{shown(whole(g, "number")), colour::bold},
         {},
         {},
         {variant.empty() ? role : role + ", " + variant, role == "live" ? colour::green : colour::yellow},
         {weight ? bar(*weight, to) : "-"},
         {shown(span(g, "age_ms"))},
         {},
         {about}});
    for (json const& i : list(g, "instances")) {
      rows.add({{},
                {text(i, "id")},
                {shown(whole(i, "pid"))},
                {text(i, "state")},
                {},
                {shown(span(i, "age_ms"))},
                {shown(whole(i, "restarts"))},
                {text(i, "status")}});
    }
  }
  add_table(said, rows, to);
}

void add_listeners(std::vector<std::string>& said, json const& status, stream const& to) {
  if (list(status, "listeners").empty()) return;
  table rows({"LISTENER", "ADDRESS", "QUEUED", "BACKLOG", "REOPENED", "SHARING"});
  for (json const& l : list(status, "listeners")) {
    auto reopened = whole(l, "reopened").value_or(0);
    std::string sharing = text(l, "sharing"), why = text(l, "sharing_reason");
    rows.add({{text(l, "name")},
              {text(l, "address")},
              {shown(whole(l, "queued"))},
              {shown(whole(l, "backlog"))},
              {std::to_string(reopened), reopened > 0 ? colour::yellow : colour::plain},
              {why.empty() ? sharing : sharing + ": " + why}});
  }
  said.emplace_back();
  add_table(said, rows, to);
}

// Of steered listeners, what came to each generation.
void add_slots(std::vector<std::string>& said, json const& status, stream const& to) {
  table rows({"SLOT", "GENERATION", "WEIGHT", "QUEUED", "CONNECTIONS", "DATAGRAMS", "MIGRATED"});
  bool any = false;
  for (json const& l : list(status, "listeners")) {
    for (json const& slot : list(l, "slots")) {
      any = true;
      rows.add({{text(l, "name")},
                {shown(whole(slot, "generation"))},
                {spell(part(slot, "weight").value_or(no_weight))},
                {shown(whole(slot, "queued"))},
                {shown(whole(slot, "connections"))},
                {shown(whole(slot, "datagrams"))},
                {shown(whole(slot, "migrations"))}});
    }
  }
  if (!any) return;
  said.emplace_back();
  add_table(said, rows, to);
}

// "rollout 3 (request), 30 s old: canary, step 2 of 4: give it 5 % of the traffic for 2m".
std::string under_way(json const& rollout) {
  std::string said = fmt::format("rollout {} ({}), {} old: ", shown(whole(rollout, "number")),
                                 text(rollout, "cause"), shown(span(rollout, "age_ms")));
  auto steps = lines(rollout, "steps");
  auto position = whole(rollout, "position").value_or(-1);
  bool known = position >= 0 && position < std::ssize(steps);
  if (!known) return said + text(rollout, "stage");
  return said + fmt::format("{}, step {} of {}: {}", text(rollout, "strategy"), position + 1, steps.size(),
                            steps[static_cast<std::size_t>(position)]);
}

void add_rollouts(std::vector<std::string>& said, json const& status, stream const& to) {
  said.emplace_back();
  if (json const& now = member(status, "rollout"); now.is_object()) {
    said.push_back("  " + under_way(now));
    if (member(now, "paused") == true) said.push_back("    " + to.paint(colour::yellow, "paused"));
    if (auto what = waiting(now); !what.empty()) said.push_back("    waiting for " + what);
    for (auto const& line : gate_of(now, to)) said.push_back("    " + line);
  }
  if (auto next = whole(status, "pending")) said.push_back(fmt::format("  rollout {} comes next", *next));
  json const& last = member(status, "last");
  if (!last.is_object()) return;
  bool good = raw_text(last, "verdict") == "promoted";
  std::string line =
      fmt::format("  last rollout {} ({}): {}", shown(whole(last, "rollout")), text(last, "cause"),
                  to.paint(good ? colour::green : colour::red, verdict_of(last)));
  said.push_back(line + ", started " + text(last, "started"));
  for (auto const& output : lines(last, "output")) said.push_back("    | " + output);
}

}  // namespace

std::vector<std::string> overview(std::vector<asked_status> const& all, stream const& to) {
  table rows({"SERVICE", "GENERATION", "STATE", "PIDS", "AGE", "QUEUED", "WAITING FOR"});
  for (auto const& one : all) rows.add(row_of(one));
  return rows.lines(to);
}

std::string who_serves(json const& status) {
  auto live = whole(status, "live");
  return live ? fmt::format("generation {} serves", *live) : "nothing serves";
}

std::string waiting(json const& of) {
  std::string what = text(of, "waiting_for");
  auto left = span(of, "deadline_in_ms");
  if (what.empty()) return {};
  return left ? what + ", for at most " + humane(*left) : what;
}

std::vector<std::string> gate_of(json const& rollout, stream const& to) {
  std::vector<std::string> said;
  for (json const& metric : list(rollout, "metrics")) {
    if (member(metric, "bounded") != true) continue;
    std::string judgement = text(metric, "judgement"), why = text(metric, "why");
    colour shown = judgement == "pass" ? colour::green : judgement == "fail" ? colour::red : colour::yellow;
    said.push_back(fmt::format("metric '{}': {}: {}", text(metric, "name"), to.paint(shown, judgement),
                               why.empty() ? "nothing was measured yet" : why));
  }
  return said;
}

std::string headline(supervisor const& of, json const& status, stream const& to) {
  std::string state = text(status, "state");
  return fmt::format("{}: {} - {}", to.paint(colour::bold, of.name), to.paint(colour_of_state(state), state),
                     text(status, "summary"));
}

std::string whereabouts(json const& rollout) {
  std::string said = text(rollout, "stage");
  if (member(rollout, "paused") == true) return said + ", paused";
  if (auto what = waiting(rollout); !what.empty()) said += ", waits for " + what;
  return said;
}

std::string verdict_of(json const& ended) {
  std::string verdict = raw_text(ended, "verdict");
  if (verdict == "promoted") return verdict;
  return (verdict == "refused" ? "refused: " : "rolled back: ") + text(ended, "reason");
}

std::vector<std::string> details(supervisor const& of, json const& status, stream const& to) {
  std::vector<std::string> said{headline(of, status, to)};
  said.push_back(fmt::format("  handoffd {}, pid {}", text(status, "version"), shown(whole(status, "pid"))));
  if (auto what = waiting(status); !what.empty()) said.push_back("  waiting for " + what);
  for (auto const& note : lines(status, "notes")) said.push_back(to.paint(colour::yellow, "  note: " + note));
  if (auto stray = whole(status, "stray_notifications").value_or(0); stray > 0) {
    said.push_back(fmt::format("  {} notifications came from strangers", stray));
  }
  said.emplace_back();
  add_generations(said, status, to);
  add_listeners(said, status, to);
  add_slots(said, status, to);
  add_rollouts(said, status, to);
  return said;
}

}  // namespace handoff::cli
