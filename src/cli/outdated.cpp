#include "outdated.hpp"

#include <base/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <iomanip>
#include <limits>
#include <sstream>

namespace handoff::cli {

namespace {

constexpr std::size_t longest_path = 400;
constexpr std::size_t most_reasons = 20;

std::string shown(std::string_view path) { return printable(path, longest_path); }

// Code that a program wrote for itself and deleted at once: no package replaces it. O_TMPFILE calls it
// "#123".
bool is_scratch(std::string_view path) {
  constexpr std::array<std::string_view, 4> places{"/tmp/", "/var/tmp/", "/run/", "/var/run/"};
  if (std::ranges::any_of(places, [&](auto place) { return path.starts_with(place); })) return true;
  std::string_view name = path.substr(path.rfind('/') + 1);
  return name.starts_with('#') || name.starts_with("orcexec.") || name.starts_with("ffi");
}

bool is_interpreter(std::string_view executable) {
  constexpr std::array<std::string_view, 15> known{"python", "perl", "ruby",   "node",  "nodejs",
                                                   "php",    "lua",  "luajit", "tclsh", "java",
                                                   "sh",     "bash", "dash",   "zsh",   "guile"};
  std::string_view name = executable.substr(executable.rfind('/') + 1);
  // "python3.11" and "php8.2" are python and php.
  name = name.substr(0, name.find_last_not_of("0123456789.-") + 1);
  return std::ranges::find(known, name) != known.end();
}

running_release read_release(json const& generation) {
  running_release read{.generation = whole(generation, "number").value_or(0),
                       .executable = raw_text(generation, "executable"),
                       .executable_state = raw_text(generation, "executable_state")};
  for (json const& instance : list(generation, "instances")) {
    auto pid = whole(instance, "pid");
    bool possible = pid && *pid > 1 && *pid <= std::numeric_limits<std::int32_t>::max();
    if (possible) read.instances.push_back({raw_text(instance, "id"), *pid});
  }
  return read;
}

// Beyond what its mapping tells: a script is not mapped, and a file written to in place keeps its inode.
std::optional<reason> reason_of_pin(seen_service const& seen) {
  std::string const& state = seen.release->executable_state;
  std::string const path = shown(seen.release->executable);
  if (state == "overwritten") return reason{path + " was written to in place", seen.program_changed};
  if (seen.executable_is_mapped) return std::nullopt;
  if (state == "replaced" || state == "lost") return reason{path + " replaced", seen.program_changed};
  if (state == "missing") return reason{path + " is gone", std::nullopt};
  return std::nullopt;
}

// The configuration names a link, as deployments do that switch one.
std::optional<reason> reason_of_link(seen_service const& seen) {
  bool is_link = !seen.configured.empty() && !seen.resolved.empty() && seen.configured != seen.resolved;
  if (!is_link || seen.resolved == seen.release->executable) return std::nullopt;
  return reason{fmt::format("{} leads to {}, and {} runs", shown(seen.configured), shown(seen.resolved),
                            shown(seen.release->executable)),
                std::nullopt};
}

// Whether what would be upgraded to is what the last rollout failed with: nothing has changed since it began,
// to a second. Its program counts also where another file is the reason: it may have been mended.
bool was_tried(seen_service const& seen, std::vector<reason> const& reasons) {
  if (!seen.last_failure) return false;
  auto is_older = [&](std::optional<std::int64_t> when) {
    return when && *when <= seen.last_failure->started;
  };
  return is_older(seen.configuration_changed) && is_older(seen.program_changed) &&
         std::ranges::all_of(reasons, [&](reason const& r) { return is_older(r.since); });
}

void bound(std::vector<std::string>& lines) {
  if (lines.size() <= most_reasons) return;
  std::size_t more = lines.size() - most_reasons;
  lines.resize(most_reasons);
  lines.push_back(fmt::format("and {} more", more));
}

}  // namespace

std::optional<std::string> why_outdated(seen_code const& seen) {
  std::string const path = shown(seen.mapped.path);
  if (!seen.on_disk) {
    if (!seen.mapped.deleted || (!seen.is_program && is_scratch(seen.mapped.path))) return std::nullopt;
    return path + " is gone";
  }
  if (!seen.build_id.empty() && seen.build_id == seen.on_disk->build_id) return std::nullopt;
  return fmt::format("{} replaced: inode {} -> {}", path, seen.mapped.file.inode, seen.on_disk->inode);
}

std::optional<std::string> find_script(std::string_view executable, std::vector<std::string> const& arguments,
                                       std::function<bool(std::string const&)> const& is_file) {
  constexpr std::array<std::string_view, 4> words_follow{"-c", "-e", "-m", "--eval"};
  if (!is_interpreter(executable)) return std::nullopt;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::string const& argument = arguments[i];
    if (std::ranges::find(words_follow, argument) != words_follow.end()) return std::nullopt;
    // The value of an option is rarely a file, and an option never.
    if (!argument.empty() && argument[0] != '-' && is_file(argument)) return argument;
  }
  return std::nullopt;
}

std::optional<running_release> release_to_look_at(json const& status) {
  std::optional<running_release> live;
  for (json const& generation : list(status, "generations")) {
    std::string role = raw_text(generation, "role");
    if (role != "live" && role != "candidate") continue;
    auto read = read_release(generation);
    if (role == "candidate" && !read.instances.empty()) return read;
    if (role == "live") live = std::move(read);
  }
  return live;
}

bool went_back(json const& status) {
  json const& last = member(status, "last");
  return raw_text(last, "cause") == "rollback" && raw_text(last, "verdict") == "promoted";
}

std::optional<failed_try> last_failure(json const& status) {
  json const& last = member(status, "last");
  if (raw_text(last, "verdict") != "rolled_back") return std::nullopt;
  std::istringstream written(raw_text(last, "started"));  // "2026-11-23T09:25:07Z"
  std::tm fields{};
  written >> std::get_time(&fields, "%Y-%m-%dT%H:%M:%SZ");
  if (written.fail()) return std::nullopt;
  return failed_try{whole(last, "rollout").value_or(0), text(last, "reason"), ::timegm(&fields)};
}

finding judge(seen_service const& seen) {
  if (!seen.release) return {freshness::current, {}};
  std::vector<reason> reasons = seen.reasons;
  for (auto const& more : {reason_of_pin(seen), reason_of_link(seen)}) {
    if (more) reasons.insert(reasons.begin(), *more);
  }
  if (reasons.empty()) {
    auto unseen = seen.out_of_sight;
    bound(unseen);
    return {unseen.empty() ? freshness::current : freshness::unknown, std::move(unseen)};
  }
  std::vector<std::string> why;
  for (auto const& r : reasons) why.push_back(r.what);
  bound(why);
  auto leave_alone = [&](std::string because) {
    why.insert(why.begin(), std::move(because));
    return finding{freshness::left_alone, std::move(why)};
  };
  if (!seen.configured.empty() && seen.resolved.empty())
    return leave_alone(shown(seen.configured) + " names nothing that could be started");
  if (seen.went_back) return leave_alone("it was rolled back by hand; an upgrade by hand ends that");
  if (was_tried(seen, reasons))
    return leave_alone(fmt::format("rollout {} tried it: {}; an upgrade by hand tries it again",
                                   seen.last_failure->rollout, seen.last_failure->reason));
  return {freshness::outdated, std::move(why)};
}

}  // namespace handoff::cli
