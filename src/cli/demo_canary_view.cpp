#include "demo_canary_view.hpp"

#include <fmt/format.h>

namespace handoff::cli {

namespace {

std::string_view nature_of(release const& r) {
  if (r.version == bad_version) return "bad";
  return r.version == good_version ? "good" : "first";
}

cell errors_of(release const& r) {
  return {std::to_string(r.errors), r.errors == 0 ? colour::green : colour::red};
}

cell verdict_of(release const& r) {
  if (r.verdict == "promoted") return {"promoted", colour::green};
  if (r.verdict == "rolled_back") return {"rolled back", colour::red};
  return {r.verdict};
}

// "5 %, measured 4.93 %"
std::string most_of(release const& r) {
  if (r.most == no_weight) return "none";
  return fmt::format("{}, measured {:.2f} %", spell(r.most), r.measured_at_most());
}

json kinds(load::counters const& c) {
  json said = json::object();
  for (std::size_t i = 0; i < load::failure_kinds; ++i)
    said[std::string(load::to_string(static_cast<load::failure_kind>(i)))] = c.by_kind[i];
  return said;
}

std::string told_otherwise(canary_story const& s) {
  std::string said = fmt::format("{} requests failed otherwise:", s.failed_otherwise());
  for (std::size_t i = 0; i < load::failure_kinds; ++i) {
    auto kind = static_cast<load::failure_kind>(i);
    // Its own errors count as wrong answers.
    auto count = s.counts().by_kind[i] -
                 (kind == load::failure_kind::wrong ? s.of(bad_version).errors : std::uint64_t{0});
    if (count > 0) said += fmt::format(" {} {}", count, load::to_string(kind));
  }
  return said;
}

std::string verdict_sentence(release const& r, std::string_view expected) {
  std::string verdict = r.verdict.empty() ? "not judged" : r.verdict;
  return fmt::format("Version {} should have been {}, but was: {}{}{}", r.version, expected, verdict,
                     r.reason.empty() ? "" : ", ", r.reason);
}

}  // namespace

std::vector<std::string> canary_picture(canary_story const& s, std::string const& doing, stream const& to) {
  table rows;
  for (release const& r : s.releases()) {
    auto errors = errors_of(r);
    errors.text += " errors";
    rows.add({{fmt::format("  version {}, {}", r.version, nature_of(r)), colour::bold},
              {bar(r.now, to)},
              {fmt::format("{} requests", r.answered)},
              {fmt::format("{:.0f}/s", r.a_second)},
              errors,
              verdict_of(r)});
  }
  std::vector<std::string> said{""};
  for (auto& line : rows.lines(to)) said.push_back(std::move(line));
  said.push_back(to.paint(colour::faint, "  " + doing));
  return said;
}

std::vector<std::string> canary_table(canary_story const& s, stream const& to) {
  table rows({"", "requests", "errors", "share at most", "verdict"});
  for (release const& r : s.releases())
    rows.add({{fmt::format("version {}, {}", r.version, nature_of(r)), colour::bold},
              {std::to_string(r.answered)},
              errors_of(r),
              {most_of(r)},
              verdict_of(r)});
  return rows.lines(to);
}

std::vector<std::string> canary_conclusions(canary_story const& s) {
  release const& bad = s.of(bad_version);
  release const& good = s.of(good_version);
  std::vector<std::string> said;
  if (s.bad_was_caught())
    said.push_back(fmt::format(
        "Version {}, which answers each {}th request with an error, was caught {:.1f} s after its first "
        "traffic, "
        "at {}, having answered {} errors in {} requests.",
        bad.version, bad_fails_every, bad.seconds_tried(), spell(bad.judged_at), bad.errors, bad.answered));
  else
    said.push_back(verdict_sentence(bad, "rolled back by the metric"));
  if (s.good_was_promoted())
    said.push_back(fmt::format("Version {} was promoted {:.1f} s after its first traffic.", good.version,
                               good.seconds_tried()));
  else
    said.push_back(verdict_sentence(good, "promoted"));
  if (s.failed_otherwise() == 0)
    said.push_back(
        fmt::format("Of all {} requests none failed otherwise: none refused, none reset.", s.counts().total));
  else
    said.push_back(told_otherwise(s));
  return said;
}

std::vector<json> canary_records(canary_story const& s) {
  std::vector<json> records;
  for (release const& r : s.releases())
    records.push_back({{"record", "release"},
                       {"version", r.version},
                       {"nature", nature_of(r)},
                       {"requests", r.answered},
                       {"errors", r.errors},
                       {"weight_at_most", number(r.most) / 100.0},
                       {"measured_at_most", r.measured_at_most()},
                       {"verdict", r.verdict.empty() ? json(nullptr) : json(r.verdict)},
                       {"reason", r.reason.empty() ? json(nullptr) : json(r.reason)},
                       {"judged_at_weight", r.judged_ns ? json(number(r.judged_at) / 100.0) : json(nullptr)},
                       {"seconds_tried", r.judged_ns ? json(r.seconds_tried()) : json(nullptr)}});
  records.push_back({{"record", "outcome"},
                     {"requests", s.counts().total},
                     {"failed", s.counts().failed},
                     {"failed_otherwise", s.failed_otherwise()},
                     {"failures", kinds(s.counts())},
                     {"bad_caught", s.bad_was_caught()},
                     {"good_promoted", s.good_was_promoted()},
                     {"went_well", s.went_well()}});
  return records;
}

}  // namespace handoff::cli
