#include "cgroup.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <ranges>
#include <vector>

namespace handoff {

namespace {

constexpr std::size_t most_text = 1 << 20;  // of any file read here
constexpr std::size_t most_nested = 1024;   // cgroups that a service made below its own
constexpr std::string_view root_of_namespace = "/";

result<std::string> read_text(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return os_failure("opening " + path);
  std::string text;
  std::array<char, 4096> piece;
  while (text.size() < most_text) {
    ssize_t size = ::read(file.get(), piece.data(), piece.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return os_failure("reading " + path);
    if (size == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(size));
  }
  return text;
}

result<> write_text(std::string const& path, std::string_view text) {
  unique_fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return os_failure("opening " + path);
  if (::write(file.get(), text.data(), text.size()) < 0) return os_failure("writing " + path);
  return {};
}

// mountinfo writes blank, tab, line end and backslash as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    auto digits = text.substr(i).substr(1, 3);
    if (text[i] == '\\' && digits.size() == 3 &&
        std::from_chars(digits.begin(), digits.end(), code, 8).ptr == digits.end() && code < 256) {
      plain += static_cast<char>(code);
      i += digits.size();
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct cgroup_mount {
  std::string root;   // which cgroup is mounted, "/" for the namespace's first
  std::string place;  // where
};

// "31 23 0:28 ROOT PLACE OPTIONS [TAG…] - cgroup2 SOURCE OPTIONS"
std::optional<cgroup_mount> parse_mount(std::string_view line) {
  constexpr std::string_view type = " - cgroup2 ";
  if (line.find(type) == std::string_view::npos) return std::nullopt;
  std::vector<std::string_view> words;
  for (auto word : std::views::split(line, ' ')) words.emplace_back(word.begin(), word.end());
  if (words.size() < 6) return std::nullopt;
  return cgroup_mount{unescape(words[3]), unescape(words[4])};
}

// The line of version 2: "0::/system.slice/web.service".
std::optional<std::string_view> own_cgroup(std::string_view text) {
  constexpr std::string_view version_2 = "0::/";
  for (auto piece : std::views::split(text, '\n')) {
    std::string_view line(piece.begin(), piece.end());
    if (line.starts_with(version_2)) return line.substr(version_2.size() - 1);
  }
  return std::nullopt;
}

// Below `top` and itself, parents before children.
std::vector<std::string> with_nested(std::string const& top) {
  std::vector<std::string> found{top};
  for (std::size_t next = 0; next < found.size() && found.size() < most_nested; ++next) {
    std::error_code ended;
    for (std::filesystem::directory_iterator here(found[next], ended), end; !ended && here != end;
         here.increment(ended)) {
      std::error_code unreadable;
      if (here->is_directory(unreadable)) found.push_back(here->path().string());
    }
  }
  return found;
}

std::vector<pid_t> listed(std::string const& cgroup) {
  std::vector<pid_t> pids;
  auto list = read_text(cgroup + "/cgroup.procs");
  if (!list) return pids;
  for (auto piece : std::views::split(*list, '\n')) {
    std::string_view line(piece.begin(), piece.end());
    pid_t pid = 0;
    // 0 stands for a process outside our pid namespace.
    if (std::from_chars(line.begin(), line.end(), pid).ec == std::errc{} && pid > 0) pids.push_back(pid);
  }
  return pids;
}

std::vector<pid_t> listed_with_nested(std::string const& top) {
  std::vector<pid_t> pids;
  for (auto const& cgroup : with_nested(top)) {
    auto here = listed(cgroup);
    pids.insert(pids.end(), here.begin(), here.end());
  }
  return pids;
}

std::optional<std::string> cgroup_of(pid_t pid) {
  auto cgroups = read_text("/proc/" + std::to_string(pid) + "/cgroup");
  auto mounts = read_text("/proc/self/mountinfo");
  return cgroups && mounts ? cgroup_path(*cgroups, *mounts) : std::nullopt;
}

}  // namespace

std::optional<std::string> cgroup_path(std::string_view own_cgroups, std::string_view mounts) {
  auto own = own_cgroup(own_cgroups);
  if (!own) return std::nullopt;
  for (auto piece : std::views::split(mounts, '\n')) {
    auto mount = parse_mount({piece.begin(), piece.end()});
    if (!mount) continue;
    if (mount->root == root_of_namespace)
      return *own == "/" ? mount->place : mount->place + std::string(*own);
    if (*own == mount->root) return mount->place;
    if (own->starts_with(mount->root + "/"))
      return mount->place + std::string(own->substr(mount->root.size()));
  }
  return std::nullopt;
}

std::optional<std::string> find_delegated_cgroup() {
  auto own = read_text("/proc/self/cgroup");
  auto mounts = read_text("/proc/self/mountinfo");
  if (!own || !mounts) return std::nullopt;
  auto path = cgroup_path(*own, *mounts);
  if (!path) return std::nullopt;
  // Every cgroup but the system's root has a type; only a plain domain may be divided as we do.
  auto type = read_text(*path + "/cgroup.type");
  if (!type || *type != "domain\n") return std::nullopt;
  // Moving a process also takes the right to write where it comes from.
  if (::access(path->c_str(), W_OK | X_OK) != 0) return std::nullopt;
  if (::access((*path + "/cgroup.procs").c_str(), W_OK) != 0) return std::nullopt;
  return path;
}

std::vector<pid_t> processes_of_private_cgroup(pid_t member, pid_t owner) {
  auto theirs = cgroup_of(member);
  auto around = cgroup_of(owner);
  if (!theirs || !around || !theirs->starts_with(*around + "/")) return {};
  return listed_with_nested(*theirs);
}

result<generation_cgroup> generation_cgroup::create(std::string const& parent, std::string_view name) {
  std::string path = parent + "/" + std::string(name);
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return os_failure("creating cgroup " + path);
  return generation_cgroup(std::move(path));
}

bool generation_cgroup::holds(pid_t pid) const {
  auto theirs = cgroup_of(pid);
  return theirs && (*theirs == path_ || theirs->starts_with(path_ + "/"));
}

std::vector<pid_t> generation_cgroup::processes() const { return listed_with_nested(path_); }

result<unique_fd> generation_cgroup::open_processes() const {
  std::string path = path_ + "/cgroup.procs";
  unique_fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return os_failure("opening " + path);
  return file;
}

result<bool> generation_cgroup::is_populated() const {
  auto events = read_text(path_ + "/cgroup.events");
  if (!events) return failure(std::move(events.error()).during("asking whether a cgroup is empty"));
  return events->find("populated 1") != std::string::npos;
}

result<> generation_cgroup::kill_all() const {
  auto killed = write_text(path_ + "/cgroup.kill", "1");
  if (killed) return {};
  if (killed.error().code.value() != ENOENT)
    return failure(std::move(killed.error()).during("killing a cgroup"));
  for (auto const& cgroup : with_nested(path_)) {
    for (pid_t pid : listed(cgroup)) ::kill(pid, SIGKILL);
  }
  return {};
}

result<bool> generation_cgroup::remove() const {
  auto all = with_nested(path_);
  for (auto const& cgroup : all | std::views::reverse) {
    if (::rmdir(cgroup.c_str()) == 0 || errno == ENOENT) continue;
    if (errno == EBUSY) return false;
    return os_failure("removing cgroup " + cgroup);
  }
  return true;
}

}  // namespace handoff
