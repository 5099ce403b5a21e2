#include "port_holder.hpp"

#include <base/text.hpp>
#include <os/socket_holders.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace handoff {

namespace {

constexpr int most_lines_read = 200'000;  // of one /proc/net table
constexpr std::size_t most_inodes = 64;
constexpr std::size_t longest_program = 64;

using inode_list = std::vector<std::string>;  // decimal, as /proc prints them

// The address bytes of a /proc/net/{tcp,udp}{,6} column: 32-bit words in host order, in hexadecimal.
std::vector<std::uint32_t> words_of(std::string_view hex) {
  std::vector<std::uint32_t> words;
  for (; hex.size() >= 8; hex.remove_prefix(8)) {
    std::uint32_t word = 0;
    std::from_chars(hex.data(), hex.data() + 8, word, 16);
    words.push_back(word);
  }
  return words;
}

bool is_wildcard(std::vector<std::uint32_t> const& words) {
  return std::all_of(words.begin(), words.end(), [](std::uint32_t word) { return word == 0; });
}

struct endpoint {
  std::vector<std::uint32_t> words;
  unsigned port = 0;
};

endpoint endpoint_of(socket_address const& address) {
  endpoint made;
  if (address.family() == AF_INET6) {
    auto const* six = reinterpret_cast<sockaddr_in6 const*>(&address.storage);
    made.words.resize(4);
    std::memcpy(made.words.data(), &six->sin6_addr, 16);
    made.port = ntohs(six->sin6_port);
  } else {
    auto const* four = reinterpret_cast<sockaddr_in const*>(&address.storage);
    made.words.push_back(four->sin_addr.s_addr);
    made.port = ntohs(four->sin_port);
  }
  return made;
}

// Whether one of the two shuts the other out. Families share the port space when one side is a wildcard.
bool conflict(endpoint const& a, endpoint const& b) {
  return a.port == b.port && (a.words == b.words || is_wildcard(a.words) || is_wildcard(b.words));
}

void add_internet_inodes(char const* table, endpoint const& wanted, std::string_view state,
                         inode_list& inodes) {
  std::ifstream lines(table);
  std::string line;
  std::getline(lines, line);  // the heading
  for (int i = 0; i < most_lines_read && inodes.size() < most_inodes && std::getline(lines, line); ++i) {
    std::istringstream columns(line);
    std::string slot, local, remote, now, queues, timer, retransmits, uid, timeout, inode;
    columns >> slot >> local >> remote >> now >> queues >> timer >> retransmits >> uid >> timeout >> inode;
    std::size_t colon = local.find(':');
    if (colon == std::string::npos || now != state || inode.empty() || inode == "0") continue;
    endpoint found{words_of(std::string_view(local).substr(0, colon)), 0};
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), found.port, 16);
    if (conflict(wanted, found)) inodes.push_back(inode);
  }
}

void add_unix_inodes(std::string const& path, inode_list& inodes) {
  std::ifstream lines("/proc/net/unix");
  std::string line;
  std::getline(lines, line);
  for (int i = 0; i < most_lines_read && inodes.size() < most_inodes && std::getline(lines, line); ++i) {
    std::istringstream columns(line);
    std::string number, references, protocol, flags, type, state, inode, name;
    columns >> number >> references >> protocol >> flags >> type >> state >> inode;
    std::getline(columns >> std::ws, name);
    // An accepted connection is shown with its listener's path as well; a datagram socket with a client looks
    // connected without being it.
    constexpr std::string_view unconnected = "01", datagram = "0002";
    if (name == path && (state == unconnected || type == datagram)) inodes.push_back(inode);
  }
}

inode_list inodes_of(socket_address const& address, socket_type type) {
  inode_list inodes;
  if (address.family() == AF_UNIX) {
    add_unix_inodes(path_of(address), inodes);
    return inodes;
  }
  endpoint wanted = endpoint_of(address);
  bool stream = type == socket_type::stream;
  std::string_view state = stream ? "0A" : "07";  // TCP_LISTEN; TCP_CLOSE is UDP's only unconnected state
  add_internet_inodes(stream ? "/proc/net/tcp" : "/proc/net/udp", wanted, state, inodes);
  add_internet_inodes(stream ? "/proc/net/tcp6" : "/proc/net/udp6", wanted, state, inodes);
  return inodes;
}

}  // namespace

std::optional<port_holder> find_port_holder(socket_address const& address, socket_type type) {
  auto holder = find_holder(inodes_of(address, type), [](pid_t) { return true; }).found;
  if (!holder) return std::nullopt;
  std::string program;
  std::ifstream comm("/proc/" + std::to_string(*holder) + "/comm");
  std::getline(comm, program);
  return port_holder{*holder, printable(program, longest_program)};
}

std::string to_string(port_holder const& holder) {
  if (holder.pid == ::getpid()) return "held by another listener of this service";
  return "held by " + holder.program + ", pid " + std::to_string(holder.pid);
}

failure address_in_use(socket_address const& address, socket_type type) {
  std::string what = std::generic_category().message(EADDRINUSE);
  auto holder = find_port_holder(address, type);
  return plain_failure(holder ? what + " (" + to_string(*holder) + ")" : what);
}

}  // namespace handoff
