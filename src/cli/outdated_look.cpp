#include "outdated_look.hpp"

#include <base/text.hpp>
#include <base/unique_fd.hpp>
#include <core/settings.hpp>
#include <os/file.hpp>
#include <os/process_files.hpp>
#include <wire/config_toml.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <tuple>

namespace handoff::cli {

namespace {

// The file as /proc/PID/maps tells it: mapped by ourselves, and looked up in our own.
mapped_identity identity_in_maps(std::string const& path) {
  constexpr std::size_t one_page = 1;
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return {};
  void* place = ::mmap(nullptr, one_page, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (place == MAP_FAILED) return {};
  auto maps = handoff::read_file("/proc/self/maps", limit::maps_bytes);
  ::munmap(place, one_page);
  return maps ? find_mapped(*maps, reinterpret_cast<std::uintptr_t>(place)) : mapped_identity{};
}

bool is_mapped(disk_file const& file, mapping const& m) {
  mapped_identity by_stat{::gnu_dev_major(file.device), ::gnu_dev_minor(file.device), file.inode};
  if (by_stat == m.file) return true;
  return !m.deleted && identity_in_maps(file.path) == m.file;
}

std::string build_id_of(pid_t pid, mapping const& m) {
  auto id = build_id_of_mapping(pid, m.begin, m.end);
  bool is_executable = executable_of(pid) == m.path + (m.deleted ? " (deleted)" : "");
  return id.empty() && is_executable ? build_id_of_executable(pid) : id;
}

// Why what is mapped is outdated; nothing when it is not.
std::optional<reason> look_at_mapping(pid_t pid, mapping const& m, bool is_program) {
  seen_code seen{.mapped = m, .is_program = is_program};
  std::optional<std::int64_t> since;
  if (auto files = files_named(pid, m.path); !files.empty()) {
    bool same = std::ranges::any_of(files, [&](disk_file const& file) { return is_mapped(file, m); });
    if (same) return std::nullopt;
    seen.on_disk = {.inode = files[0].inode, .build_id = handoff::build_id_of(files[0])};
    seen.build_id = build_id_of(pid, m);
    since = files[0].changed.tv_sec;
  }
  auto why = why_outdated(seen);
  return why ? std::optional(reason{*why, since}) : std::nullopt;
}

bool is_later(timespec a, timespec b) {
  return std::tie(a.tv_sec, a.tv_nsec) > std::tie(b.tv_sec, b.tv_nsec);
}

std::optional<std::int64_t> changed_at(std::string const& path) {
  struct stat about{};
  return ::stat(path.c_str(), &about) == 0 ? std::optional<std::int64_t>(about.st_ctim.tv_sec) : std::nullopt;
}

// A service while it is looked at.
class looking {
 public:
  looking(supervisor const& of, json const& status) : of_(of), status_(status) {}
  seen_service look();

 private:
  void look_at(running_release::instance const&);
  void look_at(pid_t);
  void look_at_script(pid_t);
  void find_configured();
  void add_reason(reason);

  supervisor const& of_;
  json const& status_;
  seen_service seen_;
  // Instances run the same files, and each is looked at once.
  std::map<std::tuple<mapped_identity, std::string, bool>, std::optional<reason>> known_;
};

seen_service looking::look() {
  seen_.release = release_to_look_at(status_);
  seen_.went_back = went_back(status_);
  seen_.last_failure = last_failure(status_);
  if (!seen_.release) return std::move(seen_);
  for (auto const& instance : seen_.release->instances) look_at(instance);
  find_configured();
  return std::move(seen_);
}

void looking::look_at(running_release::instance const& instance) {
  std::string index = instance.id.substr(instance.id.find('.') + 1);
  std::vector<std::string> const variables{"HANDOFF_SERVICE=" + of_.name,
                                           fmt::format("HANDOFF_GENERATION={}", seen_.release->generation),
                                           "HANDOFF_INSTANCE=" + index};
  auto supervisor = static_cast<pid_t>(whole(status_, "pid").value_or(0));
  auto pid = static_cast<pid_t>(instance.pid);
  for (pid_t one : processes_of_instance(pid, supervisor, variables)) look_at(one);
}

void looking::look_at(pid_t pid) {
  auto maps = read_maps(pid);
  if (!maps) {
    bool gone = is(maps.error(), std::errc::no_such_file_or_directory) ||
                is(maps.error(), std::errc::no_such_process);
    if (!gone) seen_.out_of_sight.push_back(printable(maps.error().message(), 200));
    return;
  }
  for (auto const& m : read_code_mappings(*maps)) {
    bool is_program = m.path == seen_.release->executable;
    seen_.executable_is_mapped = seen_.executable_is_mapped || is_program;
    auto [entry, is_new] = known_.try_emplace({m.file, m.path, m.deleted});
    if (!is_new) continue;
    entry->second = look_at_mapping(pid, m, is_program);
    if (entry->second) add_reason(*entry->second);
  }
  look_at_script(pid);
}

void looking::look_at_script(pid_t pid) {
  auto named = [pid](std::string const& argument) {
    return files_named(pid, absolute_path_for(pid, argument));
  };
  auto script = find_script(executable_of(pid), arguments_of(pid),
                            [&](std::string const& argument) { return !named(argument).empty(); });
  if (!script) return;
  std::string path = absolute_path_for(pid, *script);
  // Of the pinned one the supervisor knows exactly.
  if (path == seen_.release->executable) return;
  auto files = named(*script);
  constexpr long one_tick = 10'000'000;  // the start is known no better
  timespec started = started_at(pid);
  started.tv_nsec += one_tick;
  if (started.tv_nsec >= 1'000'000'000) started = {started.tv_sec + 1, started.tv_nsec - 1'000'000'000};
  if (!files.empty() && is_later(files[0].changed, started))
    add_reason({printable(path, 400) + " has changed since it was started", files[0].changed.tv_sec});
}

// Without links the command's path shows where a new release is when a deployment switches a link.
void looking::find_configured() {
  auto plan = ask(of_, "Plan");
  if (!plan) return;
  std::string const path = raw_text(*plan, "configuration");
  auto text = handoff::read_file(path, limit::configuration_bytes);
  if (!text) return;
  auto reading = read_config(*text);
  if (!reading.problems.empty() || reading.value.service.command.empty()) return;
  std::string const& command = reading.value.service.command.front();
  std::unique_ptr<char, void (*)(void*)> resolved(::realpath(command.c_str(), nullptr), std::free);
  if (!resolved && errno != ENOENT && errno != ENOTDIR) return;  // we may not look
  seen_.configured = command;
  if (resolved) seen_.resolved = resolved.get();
  seen_.configuration_changed = changed_at(path);
  seen_.program_changed = changed_at(command);
}

void looking::add_reason(reason why) {
  if (std::ranges::find(seen_.reasons, why.what, &reason::what) == seen_.reasons.end())
    seen_.reasons.push_back(std::move(why));
}

}  // namespace

finding look_at(supervisor const& of, json const& status) { return judge(looking(of, status).look()); }

}  // namespace handoff::cli
