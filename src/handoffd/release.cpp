#include "release.hpp"

#include <os/file.hpp>
#include <wire/config_values.hpp>
#include <wire/environment_file.hpp>
#include <wire/listen_environment.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

namespace handoff {

namespace {

constexpr char const* default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::size_t environment_file_bytes = 1 << 20;

using variables = std::map<std::string, std::string>;

result<> add_files(variables& to, std::vector<std::string> const& files) {
  for (auto path : files) {
    bool may_be_missing = path.starts_with('-');
    if (may_be_missing) path.erase(0, 1);
    auto text = read_file(path, environment_file_bytes);
    if (!text && may_be_missing && text.error().code == std::errc::no_such_file_or_directory) continue;
    if (!text) return failure(std::move(text.error()).during("environment-file"));
    auto read = read_environment_file(*text);
    if (!read) return failure(std::move(read.error()).during("environment-file " + path));
    for (auto& [key, value] : *read) to[key] = std::move(value);
  }
  return {};
}

// Later ones win: defaults, the user's, what is passed on, files, the configuration's own.
result<std::vector<std::string>> make_environment(service_settings const& s, account const& who) {
  variables all{{"PATH", default_path}};
  if (char const* language = std::getenv("LANG")) all["LANG"] = language;
  if (!who.name.empty()) all["USER"] = all["LOGNAME"] = who.name;
  if (!who.home.empty()) all["HOME"] = who.home;
  if (!who.shell.empty()) all["SHELL"] = who.shell;
  for (auto const& name : s.pass_environment)
    if (char const* value = std::getenv(name.c_str())) all[name] = value;
  if (auto added = add_files(all, s.environment_files); !added) return std::unexpected(added.error());
  for (auto const& [key, value] : s.environment) all[key] = value;

  std::vector<std::string> list;
  for (auto const& [key, value] : all) list.push_back(key + "=" + value);
  return list;
}

result<std::string> resolve_directory(std::string const& path) {
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real) return os_failure("working-directory " + path);
  return std::string(real.get());
}

// In the order of config_values' limit_names().
constexpr int resources[] = {RLIMIT_AS,     RLIMIT_CORE,   RLIMIT_CPU,        RLIMIT_DATA,
                             RLIMIT_FSIZE,  RLIMIT_LOCKS,  RLIMIT_MEMLOCK,    RLIMIT_MSGQUEUE,
                             RLIMIT_NICE,   RLIMIT_NOFILE, RLIMIT_NPROC,      RLIMIT_RSS,
                             RLIMIT_RTPRIO, RLIMIT_RTTIME, RLIMIT_SIGPENDING, RLIMIT_STACK};

std::size_t position(std::span<std::string_view const> names, std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
}

void add_limits(launch_spec& spec, service_settings const& s) {
  for (auto const& l : s.limits)
    spec.limits.push_back({resources[position(limit_names(), l.name)], l.soft, l.hard});
}

void add_privileges(launch_spec& spec, service_settings const& s) {
  for (auto const& name : s.ambient_capabilities)
    spec.ambient_capabilities |= std::uint64_t{1} << position(capability_names(), name);
  spec.no_new_privileges = s.no_new_privileges;
}

std::string_view key_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

// Ours win: a service must not be told another generation's number by its own configuration.
std::vector<std::string> merged(std::vector<std::string> const& theirs, std::vector<std::string> ours) {
  for (auto const& variable : theirs) {
    bool taken = std::ranges::any_of(ours, [&](auto const& o) { return key_of(o) == key_of(variable); });
    if (!taken) ours.push_back(variable);
  }
  return ours;
}

launch_spec common_launch(release const& r, account const& who, launch_extras const& extras) {
  launch_spec spec;
  spec.arguments = extras.arguments;
  std::vector<std::string> ours = extras.environment;
  if (!r.variant.empty()) ours.push_back("HANDOFF_VARIANT=" + r.variant);
  spec.environment = merged(r.environment, std::move(ours));
  spec.working_directory = r.working_directory;
  spec.user = who.user;
  spec.group = who.group;
  spec.groups = who.user ? who.groups : std::vector<std::uint32_t>{};
  spec.umask = r.service.umask;
  return spec;
}

result<> insert_descriptors(std::vector<std::string>& texts, std::span<std::string const> names) {
  for (auto& text : texts) {
    auto done = with_descriptor_numbers(text, names);
    if (!done) return std::unexpected(done.error());
    text = std::move(*done);
  }
  return {};
}

}  // namespace

std::expected<release, no_release> make_release(generation_number number, service_settings const& s) {
  auto bad = [](error const& e) { return std::unexpected(no_release{false, e.message()}); };
  release r{.number = number, .service = s};
  auto who = resolve_account(s.user, s.group, s.supplementary_groups);
  if (!who) return bad(who.error());
  r.identity = std::move(*who);
  auto environment = make_environment(s, r.identity);
  if (!environment) return bad(environment.error());
  r.environment = std::move(*environment);
  auto directory = resolve_directory(s.working_directory);
  if (!directory) return bad(directory.error());
  r.working_directory = std::move(*directory);
  auto executable = pinned_executable::open(s.command.front());
  if (!executable) {
    error const& e = executable.error();
    char const* name = e.code ? ::strerrorname_np(e.code.value()) : nullptr;
    return std::unexpected(
        no_release{true, "exec: " + (name ? name + (" (" + e.message() + ")") : e.message())});
  }
  r.executable = std::make_shared<pinned_executable const>(std::move(*executable));
  r.executable_name = executable_name_for(number);
  return r;
}

std::string executable_name_for(generation_number n) {
  return "release." + std::to_string(number(n)) + ".executable";
}

std::string why_lost(release const& r) {
  return r.executable->path() +
         " was replaced, and nobody had the one before it when handoffd died: last good is lost";
}

result<launch_spec> service_launch(release const& r, launch_extras const& extras) {
  if (r.executable->is_lost()) return plain_failure("exec: " + why_lost(r));
  launch_spec spec = common_launch(r, r.identity, extras);
  if (auto done = insert_descriptors(spec.arguments, extras.descriptor_names); !done)
    return failure(std::move(done.error()).during("command"));
  if (auto done = insert_descriptors(spec.environment, extras.descriptor_names); !done)
    return failure(std::move(done.error()).during("environment"));
  spec.environment = merged(spec.environment, listen_environment(extras.descriptor_names));
  spec.executable_path = r.executable->path();
  spec.has_executable = r.executable->descriptor() >= 0;
  spec.by_descriptor = r.executable->by_descriptor();
  spec.listeners = static_cast<std::uint32_t>(extras.descriptor_names.size());
  spec.nice = r.service.nice;
  spec.oom_score_adjust = r.service.oom_score_adjust;
  add_limits(spec, r.service);
  add_privileges(spec, r.service);
  return spec;
}

launch_spec command_launch(release const& r, account const& who, launch_extras const& extras) {
  launch_spec spec = common_launch(r, who, extras);
  spec.executable_path = extras.arguments.front();
  return spec;
}

}  // namespace handoff
