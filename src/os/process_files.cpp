#include "process_files.hpp"

#include <base/unique_fd.hpp>
#include <os/build_id.hpp>
#include <os/cgroup.hpp>
#include <os/file.hpp>
#include <os/process_tree.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>

namespace handoff {

namespace {

std::string proc(pid_t pid, std::string_view name) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(name);
}

std::string link_target(std::string const& link) {
  std::array<char, PATH_MAX> target;
  ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  return size < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(size));
}

std::string build_id_at(std::string const& path) {
  // Not to wait for a FIFO that took its place.
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat about{};
  if (!file || ::fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode)) return {};
  return read_build_id(file.get());
}

void append_new(std::vector<pid_t>& pids, std::vector<pid_t> const& more) {
  for (pid_t pid : more) {
    if (pids.size() == limit::processes_of_instance) return;
    if (std::ranges::find(pids, pid) == pids.end()) pids.push_back(pid);
  }
}

std::string to_hexadecimal(std::uint64_t number) {
  std::array<char, 16> digits;
  return {digits.data(), std::to_chars(digits.begin(), digits.end(), number, 16).ptr};
}

}  // namespace

std::vector<pid_t> processes_of_instance(pid_t instance, pid_t supervisor,
                                         std::span<std::string const> variables) {
  std::vector<pid_t> found{instance};
  append_new(found, processes_of_private_cgroup(instance, supervisor));
  for (pid_t orphan : children_of(supervisor)) {
    if (carries_variables(orphan, variables)) append_new(found, {orphan});
  }
  for (std::size_t next = 0; next < found.size(); ++next) append_new(found, children_of(found[next]));
  return found;
}

result<std::string> read_maps(pid_t pid) { return read_file(proc(pid, "maps"), limit::maps_bytes); }

std::string executable_of(pid_t pid) { return link_target(proc(pid, "exe")); }

std::vector<std::string> arguments_of(pid_t pid) {
  auto text = read_file(proc(pid, "cmdline"), limit::arguments_bytes);
  std::vector<std::string> arguments;
  if (!text) return arguments;
  for (std::string_view rest = *text; !rest.empty();) {
    auto end = std::min(rest.find('\0'), rest.size());
    arguments.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return arguments;
}

std::string absolute_path_for(pid_t pid, std::string const& path) {
  if (path.starts_with('/')) return path;
  return link_target(proc(pid, "cwd")) + "/" + path;
}

timespec started_at(pid_t pid) {
  constexpr int field_of_start = 22;  // proc_pid_stat(5), in clock ticks since boot
  auto text = read_file(proc(pid, "stat"), 4096);
  // Behind the name, which is in parentheses and may hold anything, comes field 3.
  std::size_t at = text ? text->rfind(") ") : std::string::npos;
  if (at == std::string::npos) return {};
  at += 1;
  for (int field = 3; field < field_of_start && at != std::string::npos; ++field)
    at = text->find(' ', at + 1);
  if (at == std::string::npos) return {};
  std::int64_t ticks = 0;
  std::from_chars(text->data() + at + 1, text->data() + text->size(), ticks);
  constexpr std::int64_t second = 1'000'000'000;
  timespec boot{};
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::int64_t since_epoch = (now.tv_sec - boot.tv_sec) * second + (now.tv_nsec - boot.tv_nsec) +
                             ticks * (second / ::sysconf(_SC_CLK_TCK));
  return {.tv_sec = since_epoch / second, .tv_nsec = since_epoch % second};
}

std::vector<disk_file> files_named(pid_t pid, std::string const& path) {
  std::vector<disk_file> found;
  for (auto const& reached : {proc(pid, "root") + path, path}) {
    struct stat about{};
    if (::stat(reached.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) continue;
    bool known = !found.empty() && found[0].device == about.st_dev && found[0].inode == about.st_ino;
    if (!known) found.push_back({reached, about.st_dev, about.st_ino, about.st_ctim});
  }
  return found;
}

std::string build_id_of(disk_file const& file) { return build_id_at(file.path); }

std::string build_id_of_mapping(pid_t pid, std::uint64_t begin, std::uint64_t end) {
  return build_id_at(proc(pid, "map_files/") + to_hexadecimal(begin) + "-" + to_hexadecimal(end));
}

std::string build_id_of_executable(pid_t pid) { return build_id_at(proc(pid, "exe")); }

}  // namespace handoff
