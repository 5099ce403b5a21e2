#include "socket_holders.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>

namespace handoff {

namespace {

constexpr int most_descriptors_read = 200'000;  // of all processes together

struct close_directory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using directory = std::unique_ptr<DIR, close_directory>;

// Whether the process has a descriptor of one of `sockets` ("socket:[INODE]").
bool holds_one(pid_t pid, std::vector<std::string> const& sockets, int& budget) {
  directory descriptors(::opendir(("/proc/" + std::to_string(pid) + "/fd").c_str()));
  if (!descriptors) return false;
  while (dirent const* entry = ::readdir(descriptors.get())) {
    if (--budget < 0) return false;
    std::array<char, 64> target;
    ssize_t length = ::readlinkat(::dirfd(descriptors.get()), entry->d_name, target.data(), target.size());
    if (length <= 0) continue;
    std::string_view name(target.data(), static_cast<std::size_t>(length));
    if (std::ranges::find(sockets, name) != sockets.end()) return true;
  }
  return false;
}

std::optional<pid_t> process_of(std::string_view entry) {
  pid_t pid = 0;
  auto [end, status] = std::from_chars(entry.data(), entry.data() + entry.size(), pid);
  bool is_number = status == std::errc() && end == entry.data() + entry.size();
  return is_number ? std::optional(pid) : std::nullopt;
}

}  // namespace

holder_search find_holder(std::vector<std::string> const& inodes,
                          std::function<bool(pid_t)> const& is_asked) {
  std::vector<std::string> sockets;
  for (auto const& inode : inodes) sockets.push_back("socket:[" + inode + "]");
  directory processes(::opendir("/proc"));
  if (sockets.empty() || !processes) return {};
  int budget = most_descriptors_read;
  while (dirent const* entry = ::readdir(processes.get())) {
    auto pid = process_of(entry->d_name);
    if (pid && is_asked(*pid) && holds_one(*pid, sockets, budget)) return {pid, true};
  }
  return {std::nullopt, budget >= 0};
}

bool is_held_by(std::function<bool(pid_t)> const& is_asked, int fd) {
  struct stat socket;
  if (::fstat(fd, &socket) < 0) return false;
  auto looked = find_holder({std::to_string(socket.st_ino)}, is_asked);
  return looked.found || !looked.complete;
}

}  // namespace handoff
