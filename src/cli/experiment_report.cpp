#include "experiment_report.hpp"

#include <cli/durations.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace handoff::cli {

namespace {

constexpr std::int64_t most_counted = std::int64_t{1} << 50;  // so that a sum does not overflow

std::int64_t count_of(json const& variant, char const* name) {
  return std::clamp<std::int64_t>(whole(variant, name).value_or(0), 0, most_counted);
}

json const& generation_of(json const& status, std::optional<std::int64_t> number) {
  static json const nothing;
  for (json const& g : list(status, "generations"))
    if (number && whole(g, "number") == number) return g;
  return nothing;
}

json side_of(json const& variant, json const& status, std::int64_t all_connections) {
  json const& generation = generation_of(status, whole(variant, "generation"));
  json const& instances = list(generation, "instances");
  auto ready =
      std::ranges::count_if(instances, [](json const& i) { return raw_text(i, "state") == "ready"; });
  json side{{"name", text(variant, "name")}, {"ready", ready}, {"instances", instances.size()}};
  for (char const* name : {"generation", "connections", "datagrams"}) side[name] = member(variant, name);
  for (char const* name : {"executable", "weight", "age_ms", "variant"})
    side[name] = member(generation, name);
  side["share"] = all_connections == 0
                      ? json(nullptr)
                      : json(100.0 * double(count_of(variant, "connections")) / double(all_connections));
  return side;
}

// ---- for people

std::string shown(json const& of, char const* name) {
  auto number = whole(of, name);
  return number ? std::to_string(*number) : "-";
}

std::string measured(json const& of, bool rate) {
  auto count = real(of, "count").value_or(0);
  if (count <= 0) return "-";
  if (!rate) return fmt::format("{:.4g} of {:.0f}", real(of, "mean").value_or(0), count);
  return fmt::format("{:.3g} % of {:.0f}", 100 * real(of, "failures").value_or(0) / count, count);
}

// "+4.9 points (4.1..5.7)".
std::string difference_text(json const& difference, bool rate) {
  if (!difference.is_object()) return "-";
  double scale = rate ? 100 : 1;
  auto scaled = [&](char const* name) { return scale * real(difference, name).value_or(0); };
  return fmt::format("{:+.3g}{} ({:.3g}..{:.3g})", scaled("difference"), rate ? " points" : "", scaled("low"),
                     scaled("high"));
}

// What it means: metrics count what is bad, so more is worse.
cell meaning(json const& metric, std::string const& live, std::string const& candidate) {
  json const& difference = member(metric, "difference");
  std::string unread = text(metric, "unread"), why = text(metric, "why");
  if (!unread.empty()) return {live + " could not be read: " + unread, colour::yellow};
  if (!difference.is_object()) {
    bool says = raw_text(metric, "judgement") == "inconclusive" && !why.empty();
    return {says ? why : "too little was measured yet"};
  }
  if (member(difference, "significant") != true) return {"no difference can be told yet"};
  bool worse = real(difference, "difference").value_or(0) > 0;
  return {candidate + (worse ? " is worse" : " is better"), worse ? colour::red : colour::green};
}

std::vector<std::string> sides(json const& report, stream const& to) {
  table rows(
      {"VARIANT", "GENERATION", "RELEASE", "READY", "WEIGHT", "CONNECTIONS", "SHARE", "DATAGRAMS", "AGE"});
  for (json const& side : list(report, "variants")) {
    auto weight = part(side, "weight");
    auto share = real(side, "share");
    auto age = span(side, "age_ms");
    rows.add({{text(side, "name"), colour::bold},
              {shown(side, "generation")},
              {text(side, "executable")},
              {shown(side, "ready") + " of " + shown(side, "instances")},
              {weight ? spell(*weight) : "-"},
              {shown(side, "connections")},
              {share ? fmt::format("{:.1f} %", *share) : "-"},
              {shown(side, "datagrams")},
              {age ? humane(*age) : "-"}});
  }
  return rows.lines(to);
}

std::string name_of(json const& report, std::size_t which) {
  json const& all = list(report, "variants");
  return which < all.size() ? text(all[which], "name") : std::string();
}

std::vector<std::string> metrics(json const& report, stream const& to) {
  std::string live = name_of(report, 0), candidate = name_of(report, 1);
  table rows({"METRIC", live, candidate, "DIFFERENCE (95 %)", "MEANING"});
  for (json const& metric : list(report, "metrics")) {
    bool rate = raw_text(metric, "kind") == "rate";
    rows.add({{text(metric, "name"), colour::bold},
              {measured(member(metric, "live"), rate)},
              {measured(member(metric, "candidate"), rate)},
              {difference_text(member(metric, "difference"), rate)},
              meaning(metric, live, candidate)});
  }
  return rows.lines(to);
}

}  // namespace

outcome<json> experiment_report(supervisor const& of, json const& status) {
  json const& rollout = member(status, "rollout");
  json const& variants = list(rollout, "variants");
  if (variants.size() != 2) {
    std::string why = "no experiment runs";
    if (rollout.is_object())
      why += fmt::format(": rollout {} ({}) is at: {}", shown(rollout, "number"), text(rollout, "strategy"),
                         text(rollout, "stage"));
    else
      why += fmt::format(" (handoff experiment start {})", of.name);
    return std::unexpected(trouble{ending::refused, of.name + ": " + why});
  }
  std::int64_t connections = count_of(variants[0], "connections") + count_of(variants[1], "connections");
  json sides = json::array();
  for (json const& variant : variants) sides.push_back(side_of(variant, status, connections));
  return json{{"service", of.name},
              {"rollout", member(rollout, "number")},
              {"age_ms", member(rollout, "age_ms")},
              {"variants", std::move(sides)},
              {"metrics", list(rollout, "metrics")}};
}

std::vector<std::string> report_lines(json const& report, stream const& to) {
  auto age = span(report, "age_ms");
  std::vector<std::string> said{fmt::format("{}: experiment, rollout {}, {} old",
                                            to.paint(colour::bold, text(report, "service")),
                                            shown(report, "rollout"), age ? humane(*age) : "-")};
  auto add = [&](std::vector<std::string> const& lines) {
    said.emplace_back();
    for (auto const& line : lines) said.push_back("  " + line);
  };
  add(sides(report, to));
  if (!list(report, "metrics").empty()) add(metrics(report, to));
  return said;
}

std::string variant_of(json const& status, std::int64_t generation) {
  for (json const& variant : list(member(status, "rollout"), "variants"))
    if (whole(variant, "generation") == generation) return text(variant, "name");
  return {};
}

}  // namespace handoff::cli
