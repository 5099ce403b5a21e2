#include "wrap_unit.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace handoff::cli {

namespace {

constexpr std::uint64_t infinity = std::numeric_limits<std::uint64_t>::max();  // of times, for systemd

json const& data(json const& properties, char const* name) {
  return member(member(properties, name), "data");
}

std::string text_of(json const& properties, char const* name) {
  auto const* found = data(properties, name).get_ptr<std::string const*>();
  return found == nullptr ? std::string() : *found;
}

std::uint64_t number_of(json const& properties, char const* name, std::uint64_t otherwise = 0) {
  json const& value = data(properties, name);
  return value.is_number_integer() ? value.get<std::uint64_t>() : otherwise;
}

std::vector<std::string> texts(json const& value) {
  std::vector<std::string> all;
  if (!value.is_array()) return all;
  for (auto const& one : value)
    if (one.is_string()) all.push_back(one.get<std::string>());
  return all;
}

// Of microseconds, rounded up; none when it is infinite or longer than a configuration can say.
std::optional<duration> time_of(json const& properties, char const* name) {
  std::uint64_t microseconds = number_of(properties, name, infinity);
  if (microseconds / 1000 >= static_cast<std::uint64_t>(limit::longest.count())) return std::nullopt;
  return duration((microseconds + 999) / 1000);
}

// a(sasasttttuii): path, words, flags, and what became of it.
std::vector<unit_command> commands_of(json const& properties, char const* name) {
  std::vector<unit_command> all;
  json const& lines = data(properties, name);
  if (!lines.is_array()) return all;
  for (auto const& line : lines) {
    if (!line.is_array() || line.size() < 3 || !line[0].is_string()) continue;
    unit_command made{.words = texts(line[1])};
    // The first word may be another one ("@"): what is executed is the path.
    if (made.words.empty()) made.words.emplace_back();
    made.words[0] = line[0].get<std::string>();
    for (auto const& flag : texts(line[2])) {
      made.may_fail |= flag == "ignore-failure";
      made.as_root |= flag == "privileged" || flag == "no-setuid" || flag == "ambient";
      made.expands &= flag != "no-env-expand";
    }
    all.push_back(std::move(made));
  }
  return all;
}

variables environment_of(json const& properties) {
  variables all;
  for (auto const& assignment : texts(data(properties, "Environment"))) {
    auto equals = assignment.find('=');
    if (equals != std::string::npos)
      all.emplace_back(assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  return all;
}

std::vector<std::string> environment_files_of(json const& properties) {
  std::vector<std::string> all;
  json const& files = data(properties, "EnvironmentFiles");
  if (!files.is_array()) return all;
  for (auto const& file : files) {
    if (!file.is_array() || file.size() != 2 || !file[0].is_string()) continue;
    all.push_back((file[1] == true ? "-" : "") + file[0].get<std::string>());
  }
  return all;
}

std::vector<unit_directory> directories_of(json const& properties) {
  struct kind {
    char const *name, *mode, *below, *variable;
  };
  static constexpr std::array<kind, 5> kinds{
      {{"RuntimeDirectory", "RuntimeDirectoryMode", "/run/", "RUNTIME_DIRECTORY"},
       {"StateDirectory", "StateDirectoryMode", "/var/lib/", "STATE_DIRECTORY"},
       {"CacheDirectory", "CacheDirectoryMode", "/var/cache/", "CACHE_DIRECTORY"},
       {"LogsDirectory", "LogsDirectoryMode", "/var/log/", "LOGS_DIRECTORY"},
       {"ConfigurationDirectory", "ConfigurationDirectoryMode", "/etc/", "CONFIGURATION_DIRECTORY"}}};
  std::vector<unit_directory> all;
  for (auto const& kind : kinds) {
    for (auto const& name : texts(data(properties, kind.name)))
      all.push_back({kind.below + name, kind.variable,
                     static_cast<std::uint32_t>(number_of(properties, kind.mode, 0755))});
  }
  return all;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  auto first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

variables directory_variables(std::vector<unit_directory> const& directories) {
  variables all;
  for (auto const& directory : directories) {
    auto found = std::ranges::find(all, directory.variable, &variables::value_type::first);
    if (found == all.end())
      all.emplace_back(directory.variable, directory.path);
    else
      found->second += ":" + directory.path;
  }
  return all;
}

bool unit_facts::writes(std::string_view name) const {
  return std::ranges::any_of(written, [&](directive const& d) { return d.name == name; });
}

result<unit_facts> read_unit(json const& properties) {
  unit_facts u{.id = text_of(properties, "Id"), .type = text_of(properties, "Type")};
  if (text_of(properties, "LoadState") != "loaded")
    return plain_failure("systemd knows no such unit: it is " + text_of(properties, "LoadState"));
  if (!u.id.ends_with(".service")) return plain_failure("it is no service, but " + u.id);
  std::string state = text_of(properties, "ActiveState");
  u.active = state != "inactive" && state != "failed";
  if (auto file = text_of(properties, "FragmentPath"); !file.empty()) u.files.push_back(file);
  for (auto const& file : texts(data(properties, "DropInPaths"))) u.files.push_back(file);
  u.cgroup = text_of(properties, "ControlGroup");
  u.start = commands_of(properties, "ExecStartEx");
  u.start_pre = commands_of(properties, "ExecStartPreEx");
  u.start_post = commands_of(properties, "ExecStartPostEx");
  u.stop_post = commands_of(properties, "ExecStopPostEx");
  for (auto const& unit : texts(data(properties, "TriggeredBy")))
    if (unit.ends_with(".socket")) u.sockets.push_back(unit);
  u.user = text_of(properties, "User");
  u.group = text_of(properties, "Group");
  u.supplementary_groups = texts(data(properties, "SupplementaryGroups"));
  u.working_directory = text_of(properties, "WorkingDirectory");
  u.environment = environment_of(properties);
  u.environment_files = environment_files_of(properties);
  u.pass_environment = texts(data(properties, "PassEnvironment"));
  u.directories = directories_of(properties);
  u.bounding_set = number_of(properties, "CapabilityBoundingSet", infinity);
  u.kill_signal = static_cast<int>(number_of(properties, "KillSignal", 15));
  u.start_timeout = time_of(properties, "TimeoutStartUSec");
  u.stop_timeout = time_of(properties, "TimeoutStopUSec");
  u.watchdog = time_of(properties, "WatchdogUSec");
  if (u.watchdog == duration(0)) u.watchdog.reset();
  u.restart_pause = time_of(properties, "RestartUSec").value_or(duration(100));
  u.stored_descriptors = static_cast<std::uint32_t>(number_of(properties, "FileDescriptorStoreMax"));
  return u;
}

std::vector<directive> directives_of(std::string_view unit_file) {
  std::vector<directive> all;
  bool in_service = false;
  std::string line;  // with what it is continued by
  while (!unit_file.empty()) {
    auto end = unit_file.find('\n');
    std::string_view part = trimmed(unit_file.substr(0, end));
    unit_file.remove_prefix(end == unit_file.npos ? unit_file.size() : end + 1);
    if (part.starts_with('#') || part.starts_with(';')) continue;  // also between continued lines
    bool goes_on = part.ends_with('\\');
    line += goes_on ? std::string(part.substr(0, part.size() - 1)) + " " : std::string(part);
    if (goes_on && !unit_file.empty()) continue;
    if (line.starts_with('[')) in_service = line == "[Service]";
    if (auto equals = line.find('='); in_service && equals != line.npos)
      all.push_back({std::string(trimmed(line.substr(0, equals))),
                     std::string(trimmed(std::string_view(line).substr(equals + 1)))});
    line.clear();
  }
  return all;
}

namespace {

std::string value_of(std::string const& name, variables const& known, std::vector<std::string>& used) {
  if (std::ranges::find(used, name) == used.end()) used.push_back(name);
  auto found = std::find_if(known.rbegin(), known.rend(), [&](auto const& v) { return v.first == name; });
  return found == known.rend() ? std::string() : found->second;
}

// At blanks outside of quotes, which are taken away.
std::vector<std::string> split(std::string const& text) {
  std::vector<std::string> words;
  char quote = 0;
  bool inside = false;
  for (char c : text) {
    bool blank = quote == 0 && (c == ' ' || c == '\t' || c == '\n');
    if (!blank && !inside) words.emplace_back();
    inside = !blank;
    if (blank) continue;
    if (quote != 0 ? c == quote : c == '"' || c == '\'')
      quote = quote == 0 ? c : '\0';
    else
      words.back() += c;
  }
  return words;
}

std::string with_braces_expanded(std::string const& word, variables const& known,
                                 std::vector<std::string>& used) {
  std::string made;
  for (std::size_t i = 0; i < word.size(); ++i) {
    auto end = word.find('}', i);
    if (word.compare(i, 2, "$$") == 0) {
      made += word[i++];
    } else if (word.compare(i, 2, "${") == 0 && end != word.npos) {
      made += value_of(word.substr(i + 2, end - i - 2), known, used);
      i = end;
    } else {
      made += word[i];
    }
  }
  return made;
}

}  // namespace

std::vector<std::string> expand(std::vector<std::string> const& words, variables const& known,
                                std::vector<std::string>& used) {
  std::vector<std::string> made;
  for (auto const& word : words) {
    bool alone = word.size() > 1 && word[0] == '$' && word[1] != '{' && word[1] != '$';
    if (!alone) {
      made.push_back(with_braces_expanded(word, known, used));
      continue;
    }
    for (auto& part : split(value_of(word.substr(1), known, used))) made.push_back(std::move(part));
  }
  return made;
}

}  // namespace handoff::cli
