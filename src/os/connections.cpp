#include "connections.hpp"

#include <os/pidfd.hpp>

#include <sys/socket.h>

#include <charconv>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace handoff {

namespace {

constexpr std::size_t most_looked_at = 10'000;
constexpr std::size_t most_held = 256;  // duplicates at once: a quarter of the usual limit of descriptors

bool is_connected_stream(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_STREAM) return false;
  sockaddr_storage peer;
  length = sizeof peer;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
}

}  // namespace

std::size_t count_connections(process const& of, descriptor_disposer& dispose) {
  std::size_t connections = 0, looked_at = 0;
  std::vector<unique_fd> duplicates;
  std::error_code problem;
  auto directory = "/proc/" + std::to_string(of.pid()) + "/fd";
  for (auto entry = std::filesystem::directory_iterator(directory, problem);
       !problem && entry != std::filesystem::directory_iterator() && looked_at < most_looked_at;
       entry.increment(problem), ++looked_at) {
    auto link = std::filesystem::read_symlink(entry->path(), problem);
    if (problem || !link.native().starts_with("socket:")) continue;
    std::string number = entry->path().filename();
    int theirs = -1;
    std::from_chars(number.data(), number.data() + number.size(), theirs);
    unique_fd ours(copy_descriptor(of.pidfd(), theirs));
    if (!ours) continue;
    if (is_connected_stream(ours.get())) ++connections;
    duplicates.push_back(std::move(ours));
    if (duplicates.size() == most_held) dispose.dispose(std::exchange(duplicates, {}));
  }
  dispose.dispose(std::move(duplicates));
  return connections;
}

}  // namespace handoff
