#include "notify_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>

namespace handoff {

namespace {

constexpr int datagrams_a_wakeup = 32;
constexpr std::size_t most_descriptors = 253;  // of one message: SCM_MAX_FD, unix(7)

struct ancillary {
  std::optional<notify_sender> sender;
  std::vector<unique_fd> descriptors;
};

ancillary ancillary_of(msghdr& message) {
  ancillary found;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    std::size_t length = header->cmsg_len - CMSG_LEN(0);
    if (header->cmsg_type == SCM_RIGHTS) {
      for (std::size_t i = 0; i < length / sizeof(int); ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
        found.descriptors.emplace_back(fd);
      }
    } else if (header->cmsg_type == SCM_CREDENTIALS && length >= sizeof(ucred)) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      found.sender = notify_sender{sender.pid, sender.uid, sender.gid};
    }
  }
  return found;
}

void move_all(std::vector<unique_fd>& from, std::vector<unique_fd>& to) {
  for (auto& fd : from) to.push_back(std::move(fd));
}

}  // namespace

notify_socket::notify_socket(unique_fd fd, std::string path, uid_t user, descriptor_disposer& dispose,
                             receiver received)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      user_(user),
      dispose_(dispose),
      received_(std::move(received)) {}

notify_socket::~notify_socket() = default;

result<std::unique_ptr<notify_socket>> notify_socket::create(loop& on, std::string path, uid_t user,
                                                             descriptor_disposer& dispose,
                                                             receiver received) {
  std::string doing = "creating the notify socket " + path;
  auto with_story = [&](error e) { return std::unexpected(std::move(e).during(doing)); };
  unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return os_failure(doing);
  // Before bind(), so that no datagram comes without its sender.
  int on_value = 1;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on_value, sizeof on_value) < 0)
    return os_failure(doing);
  if (auto room = clear_socket_path(path, socket_type::datagram); !room) return with_story(room.error());
  file_access access{.mode = 0600};
  if (user != ::geteuid()) access.user = user;
  auto identity = bind_socket_path(fd.get(), path, access);
  if (!identity) return with_story(identity.error());
  owned_socket_file file(path, *identity);
  std::unique_ptr<notify_socket> made(
      new notify_socket(std::move(fd), std::move(path), user, dispose, std::move(received)));
  made->file_ = std::move(file);
  if (auto started = made->start(on); !started) return with_story(started.error());
  return made;
}

result<std::unique_ptr<notify_socket>> notify_socket::adopt(loop& on, unique_fd fd, uid_t user,
                                                            descriptor_disposer& dispose, receiver received) {
  auto address = bound_address(fd.get());
  if (!address) return std::unexpected(std::move(address).error().during("adopting a notify socket"));
  std::string path = path_of(*address);
  if (path.empty()) return plain_failure("adopting a notify socket: it has no path");
  auto file = look_at_socket_file(path);
  std::unique_ptr<notify_socket> made(
      new notify_socket(std::move(fd), std::move(path), user, dispose, std::move(received)));
  if (file) made->file_ = owned_socket_file(made->path_, file->identity);
  if (auto started = made->start(on); !started) return std::unexpected(std::move(started).error());
  return made;
}

result<> notify_socket::start(loop& on) {
  auto watching = on.on_fd(fd_.get(), readiness_of_fd::readable, [this] { receive(); });
  if (!watching) return std::unexpected(std::move(watching).error());
  watch_ = std::move(*watching);
  return {};
}

int notify_socket::receive() {
  std::vector<unique_fd> unwanted;  // one child drops what the whole round brought
  int count = 0;
  while (count < datagrams_a_wakeup && receive_one(unwanted)) ++count;
  if (!unwanted.empty()) dispose_.dispose(std::move(unwanted));
  return count;
}

bool notify_socket::receive_one(std::vector<unique_fd>& unwanted) {
  std::array<char, longest_datagram> bytes;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * most_descriptors)>
      control;
  iovec buffer{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t length = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) return errno == EINTR;
  auto [sender, descriptors] = ancillary_of(message);
  bool whole = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && sender.has_value();
  bool belongs = sender && (sender->user == user_ || sender->user == 0 || sender->user == ::geteuid());
  if (!whole || !belongs) {
    ++(belongs || !sender ? seen_.broken : seen_.strangers);
    move_all(descriptors, unwanted);
    return true;
  }
  ++seen_.delivered;
  received_(*sender, std::string_view(bytes.data(), static_cast<std::size_t>(length)),
            std::move(descriptors));
  return true;
}

}  // namespace handoff
