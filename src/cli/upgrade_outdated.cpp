#include "upgrade_outdated.hpp"

#include <cli/outdated_look.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

namespace handoff::cli {

namespace {

// One service, and how it ended.
struct candidate {
  supervisor of;
  finding found;
  ending ended = ending::done;
};

std::string_view to_string(freshness is) {
  constexpr std::array<std::string_view, 4> names{"current", "outdated", "left_alone", "unknown"};
  return names[static_cast<std::size_t>(is)];
}

bool is_outdated(candidate const& c) { return c.found.is == freshness::outdated; }

// Services that we may not talk to, or whose supervisor is gone, count only when they were asked for by name.
std::vector<candidate> look_at_all(outdated_request const& asked) {
  std::vector<candidate> all;
  for (auto const& of : chosen_supervisors(asked.names)) {
    auto status = ask(of, "Status");
    if (status) {
      all.push_back({of, look_at(of, *status)});
    } else if (!asked.names.empty() || status.error().how == ending::gave_up) {
      all.push_back({of, {freshness::unknown, {status.error().what}}, tell(status.error())});
    }
  }
  return all;
}

void tell_finding(candidate const& c, bool dry_run) {
  constexpr std::array<std::string_view, 4> words{"up to date", "outdated", "left alone", "cannot be told"};
  if (c.ended != ending::done || (c.found.is == freshness::current && !dry_run)) return;
  bool wrong = c.found.is == freshness::unknown || c.found.is == freshness::left_alone;
  auto const& to = wrong && !dry_run ? err() : out();
  to.line(fmt::format("{}: {}", c.of.name, words[static_cast<std::size_t>(c.found.is)]));
  for (auto const& line : c.found.why) to.line("  " + line);
}

json record_of(candidate const& c) {
  return {{"service", c.of.name}, {"state", to_string(c.found.is)}, {"why", c.found.why}};
}

// As JSON a service has one line, with what came of its rollout.
ending upgrade_as_json(candidate const& c, rollout_request how) {
  json record = record_of(c);
  how.then = [&record](followed const& f) {
    record["rollout"] = f.rollout;
    record["reached"] = f.reached;
    record["generation"] = f.generation ? json(*f.generation) : json();
    bool failed = f.reached == "failed";
    for (char const* name : {"verdict", "reason", "output"}) {
      if (failed) record[name] = member(f.told, name);
    }
    return std::optional(failed ? ending::failed : ending::done);
  };
  ending ended = run_rollout(c.of, how);
  record["exit"] = static_cast<int>(ended);
  out().line(one_line(record));
  return ended;
}

// Those before it may have taken long, and others upgrade as well, or go back.
bool is_still_outdated(candidate& c, bool as_json) {
  auto status = ask(c.of, "Status");
  if (!status) return true;  // the rollout tells why
  c.found = look_at(c.of, *status);
  if (is_outdated(c)) return true;
  if (as_json)
    out().line(one_line(record_of(c)));
  else
    tell_finding(c, false);
  return false;
}

// `jobs` at a time; each takes the next one that is left. Who is interrupted begins none any more.
void upgrade_all(std::vector<candidate>& all, outdated_request const& asked, interruptions const& by) {
  std::atomic<std::size_t> next = 0;
  auto work = [&] {
    for (std::size_t i = next++; i < all.size(); i = next++) {
      if (!is_outdated(all[i])) continue;
      if (by.come_within(duration(0))) {
        all[i].ended = ending::gave_up;
        continue;
      }
      if (!is_still_outdated(all[i], asked.how.as_json)) continue;
      all[i].ended =
          asked.how.as_json ? upgrade_as_json(all[i], asked.how) : run_rollout(all[i].of, asked.how);
    }
  };
  std::vector<std::jthread> others;
  auto wanted = static_cast<std::size_t>(std::ranges::count_if(all, is_outdated));
  for (std::size_t i = 1; i < std::min<std::size_t>(asked.jobs, wanted); ++i) others.emplace_back(work);
  work();
}

std::string_view outcome_of(candidate const& c, bool dry_run) {
  constexpr std::array<std::string_view, 6> endings{"upgraded", "failed",  "refused",
                                                    "lost",     "gave up", "refused"};
  if (c.ended != ending::done) return endings[static_cast<std::size_t>(c.ended)];
  if (is_outdated(c)) return dry_run ? "outdated" : "upgraded";
  if (c.found.is == freshness::left_alone) return "left alone";
  return c.found.is == freshness::unknown ? "cannot be told" : "up to date";
}

void tell_summary(std::vector<candidate> const& all, outdated_request const& asked) {
  constexpr std::array<std::string_view, 8> order{"upgraded", "outdated", "failed",     "gave up",
                                                  "refused",  "lost",     "left alone", "cannot be told"};
  json names = json::object();
  std::vector<std::string> parts;
  auto tell_one = [&](std::string_view outcome, bool by_name) {
    std::vector<std::string> those;
    for (auto const& c : all) {
      if (outcome_of(c, asked.dry_run) == outcome) those.push_back(c.of.name);
    }
    names[std::string(outcome)] = those;
    if (those.empty()) return;
    parts.push_back(fmt::format("{} {}", those.size(), outcome));
    if (by_name) parts.back() += fmt::format(" ({})", fmt::join(those, ", "));
  };
  for (auto outcome : order) tell_one(outcome, true);
  tell_one("up to date", false);
  if (asked.how.as_json)
    out().line(one_line({{"summary", names}}));
  else if (all.empty())
    out().line("no supervisor runs");
  else
    out().line(fmt::format("{} {}: {}", all.size(), all.size() == 1 ? "service" : "services",
                           fmt::join(parts, ", ")));
}

ending gravest(std::vector<candidate> const& all) {
  auto ended_as = [&](ending e) {
    return std::ranges::any_of(all, [e](candidate const& c) { return c.ended == e; });
  };
  for (ending e : {ending::failed, ending::gave_up, ending::refused}) {
    if (ended_as(e)) return e;
  }
  bool unseen = std::ranges::any_of(
      all, [](candidate const& c) { return c.ended == ending::done && c.found.is == freshness::unknown; });
  if (unseen) return ending::refused;
  return ended_as(ending::absent) ? ending::absent : ending::done;
}

}  // namespace

ending upgrade_outdated(outdated_request const& asked) {
  auto all = look_at_all(asked);
  for (auto const& c : all) {
    bool has_line_later = is_outdated(c) && !asked.dry_run;
    if (!asked.how.as_json)
      tell_finding(c, asked.dry_run);
    else if (!has_line_later)
      out().line(one_line(record_of(c)));
  }
  if (!asked.dry_run) {
    // Before there are threads, so that in none of them a signal ends us.
    auto caught = interruptions::catch_them();
    if (!caught) return tell({ending::refused, caught.error().message()});
    upgrade_all(all, asked, *caught);
  }
  tell_summary(all, asked);
  return gravest(all);
}

}  // namespace handoff::cli
