#include "wrap_sockets.hpp"

#include <base/unique_fd.hpp>
#include <os/pidfd.hpp>
#include <os/socket_address.hpp>

#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

namespace handoff::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_processes = 4096;
constexpr std::size_t most_descriptors = 65536;  // of all of them together

// Where the hierarchy that systemd uses may be mounted, cgroups(7).
constexpr char const* roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"};

void read_processes(fs::path const& file, std::vector<pid_t>& found) {
  std::ifstream processes(file);
  for (pid_t pid = 0; processes >> pid && found.size() < most_processes;) found.push_back(pid);
}

std::vector<pid_t> processes_of(std::string const& cgroup) {
  for (auto const* root : roots) {
    fs::path directory = root + cgroup;
    std::vector<pid_t> found;
    std::error_code problem;
    read_processes(directory / "cgroup.procs", found);
    for (auto at = fs::recursive_directory_iterator(directory, problem); !problem && at != fs::end(at);
         at.increment(problem))
      if (at->path().filename() == "cgroup.procs" && at.depth() > 0) read_processes(at->path(), found);
    if (!found.empty()) return found;
  }
  return {};
}

std::optional<int> option(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(fd, level, name, &value, &length) < 0) return std::nullopt;
  return value;
}

std::optional<inet_address> inet_address_of(socket_address const& bound) {
  char host[INET6_ADDRSTRLEN];
  if (bound.family() == AF_INET) {
    auto const* four = reinterpret_cast<sockaddr_in const*>(&bound.storage);
    ::inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
    return inet_address{host, ntohs(four->sin_port)};
  }
  if (bound.family() == AF_INET6) {
    auto const* six = reinterpret_cast<sockaddr_in6 const*>(&bound.storage);
    ::inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
    return inet_address{host, ntohs(six->sin6_port)};
  }
  return std::nullopt;
}

// Whose the path of a Unix socket is, so that the same clients reach it.
void take_owner(listener_settings& l, std::string const& path) {
  struct stat about{};
  if (path.starts_with('@') || ::stat(path.c_str(), &about) < 0) return;
  l.options.mode = about.st_mode & 0777;
  if (about.st_uid != 0) {
    auto const* user = ::getpwuid(about.st_uid);
    l.options.user = user != nullptr ? user->pw_name : std::to_string(about.st_uid);
  }
  if (about.st_gid != 0) {
    auto const* group = ::getgrgid(about.st_gid);
    l.options.group = group != nullptr ? group->gr_name : std::to_string(about.st_gid);
  }
}

void look_at(int fd, found_sockets& found) {
  auto bound = bound_address(fd);
  auto type = option(fd, SOL_SOCKET, SO_TYPE);
  if (!bound || !type) return;
  auto inet = inet_address_of(*bound);
  bool listens = option(fd, SOL_SOCKET, SO_ACCEPTCONN).value_or(0) != 0;
  if (inet && *type == SOCK_DGRAM && inet->port != 0) {
    socket_address peer;
    peer.length = sizeof peer.storage;
    bool connected = ::getpeername(fd, peer.get(), &peer.length) == 0;
    if (!connected) found.datagram.push_back(to_string({"", *inet, socket_type::datagram, {}}));
  }
  if (!listens) return;
  listener_settings l{};
  if (inet && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP) {
    l.address = *inet;
    l.options.v6only = bound->family() == AF_INET6 && option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
  } else if (std::string path = path_of(*bound); !path.empty()) {
    l.address = unix_address{path};
    l.type = *type == SOCK_SEQPACKET ? socket_type::seqpacket : socket_type::stream;
    take_owner(l, path);
  } else {
    return;
  }
  found.listeners.push_back(std::move(l));
}

// Each socket once, whoever else has it too.
result<> look_at_all(pid_t pid, std::set<std::string>& seen, std::size_t& left, found_sockets& found) {
  unique_fd process(open_pidfd(pid));
  if (!process) return {};  // it has ended
  std::error_code problem;
  auto entry = fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", problem);
  if (problem == std::errc::permission_denied)
    return os_failure("looking at its descriptors (as root it works)", problem.value());
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    if (left-- == 0) return plain_failure("the service has too many descriptors to look at: use --listen");
    std::error_code gone;
    std::string target = fs::read_symlink(entry->path(), gone).string();
    if (!target.starts_with("socket:") || !seen.insert(target).second) continue;
    std::string name = entry->path().filename();
    int theirs = -1;
    std::from_chars(name.data(), name.data() + name.size(), theirs);
    unique_fd ours(copy_descriptor(process.get(), theirs));
    if (!ours && errno == EPERM) return os_failure("looking at its sockets (as root it works)");
    if (ours) look_at(ours.get(), found);
  }
  return {};
}

}  // namespace

result<found_sockets> sockets_of_cgroup(std::string const& cgroup) {
  found_sockets found;
  std::set<std::string> seen;
  std::size_t left = most_descriptors;
  for (pid_t pid : processes_of(cgroup)) {
    if (auto looked = look_at_all(pid, seen, left, found); !looked) return std::unexpected(looked.error());
  }
  auto key = [](listener_settings const& l) {
    auto const* at = std::get_if<inet_address>(&l.address);
    return std::tuple(at == nullptr, at == nullptr ? 0 : at->port, to_string(l));
  };
  std::ranges::sort(found.listeners, {}, key);
  // Several sockets of one address share it by SO_REUSEPORT; a single listener takes their place.
  auto same = std::ranges::unique(found.listeners, {}, key);
  found.listeners.erase(same.begin(), same.end());
  std::ranges::sort(found.datagram);
  return found;
}

}  // namespace handoff::cli
