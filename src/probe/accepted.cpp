#include "accepted.hpp"

#include <base/unique_fd.hpp>
#include <os/socket_address.hpp>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cstddef>
#include <cstring>

namespace handoff::probe {

namespace {

constexpr char const* doing = "asking the kernel whether the connection was accepted";

struct question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

void copy_address(socket_address const& from, void* address, __be16& port) {
  if (from.family() == AF_INET) {
    auto const* four = reinterpret_cast<sockaddr_in const*>(from.get());
    std::memcpy(address, &four->sin_addr, sizeof four->sin_addr);
    port = four->sin_port;
  } else {
    auto const* six = reinterpret_cast<sockaddr_in6 const*>(from.get());
    std::memcpy(address, &six->sin6_addr, sizeof six->sin6_addr);
    port = six->sin6_port;
  }
}

// For the socket whose source is our peer.
result<question> ask_for_peer(int fd) {
  socket_address ours, theirs;
  ours.length = theirs.length = sizeof(sockaddr_storage);
  if (::getsockname(fd, ours.get(), &ours.length) < 0 || ::getpeername(fd, theirs.get(), &theirs.length) < 0)
    return os_failure(doing);
  question q{};
  q.header.nlmsg_len = sizeof q;
  q.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  q.header.nlmsg_flags = NLM_F_REQUEST;
  q.request.sdiag_family = static_cast<__u8>(ours.family());
  q.request.sdiag_protocol = IPPROTO_TCP;
  q.request.idiag_states = ~0U;
  auto& id = q.request.id;
  copy_address(theirs, id.idiag_src, id.idiag_sport);
  copy_address(ours, id.idiag_dst, id.idiag_dport);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return q;
}

}  // namespace

result<bool> is_accepted(int fd) {
  auto q = ask_for_peer(fd);
  if (!q) return std::unexpected(std::move(q.error()));
  unique_fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink || ::send(netlink.get(), &*q, sizeof *q, 0) < 0) return os_failure(doing);
  alignas(nlmsghdr) std::array<std::byte, 1024> answer{};
  ssize_t size = ::recv(netlink.get(), answer.data(), answer.size(), 0);
  if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return os_failure(doing);
  nlmsghdr header{};
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsgerr refused{};
    std::memcpy(&refused, answer.data() + NLMSG_HDRLEN, sizeof refused);
    if (refused.error == -ENOENT) return false;  // its handshake is not over
    return os_failure(doing, -refused.error);
  }
  inet_diag_msg found{};
  std::memcpy(&found, answer.data() + NLMSG_HDRLEN, sizeof found);
  return found.idiag_inode != 0 && found.idiag_state != TCP_LISTEN;
}

}  // namespace handoff::probe
