#include "conversation.hpp"

#include <exec/kernel.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

namespace handoff {

namespace {

namespace talk = launch_conversation;

static_assert(talk::most_listeners == launch_bound::listeners, "spec and conversation bound the same thing");

constexpr int exit_not_launched = 127;  // as the shell's "command not found"

// Takes one message of exactly this kind, and its descriptors into `room`. `count` is how many came.
template <class Payload>
int receive_one(int channel, Payload& payload, std::span<int> room, std::size_t& count) noexcept {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(talk::batch_size * sizeof(int))> control;
  iovec data{.iov_base = &payload, .iov_len = sizeof payload};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  long size = kernel::call(SYS_recvmsg, channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0) return size == -EAGAIN ? EBADMSG : static_cast<int>(-size);
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    return EMFILE;  // the buffer fits all: our descriptor limit does not
  if ((message.msg_flags & MSG_TRUNC) != 0 || size != static_cast<long>(sizeof payload)) return EBADMSG;

  cmsghdr const* rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
    return EBADMSG;
  count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  if (count > room.size()) return EBADMSG;
  std::memcpy(room.data(), CMSG_DATA(rights), count * sizeof(int));
  return 0;
}

int receive_opening(handed_over& handed) noexcept {
  talk::opening opening;
  std::array<int, 1 + talk::most_special> first{};
  std::size_t count = 0;
  if (int failed = receive_one(handed.channel, opening, first, count); failed != 0) return failed;
  if (opening.magic != talk::magic || opening.listeners > talk::most_listeners) return EBADMSG;
  if (opening.version != talk::version) return EPROTONOSUPPORT;

  std::size_t next = 0;
  handed.spec = first[next++];
  if ((opening.special & talk::has_executable) != 0) handed.executable = first[next++];
  if ((opening.special & talk::has_output) != 0) handed.output = first[next++];
  if ((opening.special & talk::has_cgroup) != 0) handed.cgroup = first[next++];
  handed.listeners = opening.listeners;
  return count == next ? 0 : EBADMSG;
}

}  // namespace

int receive(handed_over& handed) noexcept {
  if (int failed = receive_opening(handed); failed != 0) return failed;
  for (std::uint32_t index = 0; index < handed.listeners;) {
    talk::batch batch;
    auto room = std::span(handed.listener).subspan(index);
    if (room.size() > handed.listeners - index) room = room.first(handed.listeners - index);
    std::size_t count = 0;
    if (int failed = receive_one(handed.channel, batch, room, count); failed != 0) return failed;
    if (batch.magic != talk::magic || batch.first != index || batch.count != count || count == 0)
      return EBADMSG;
    index += batch.count;
  }
  return 0;
}

int map_spec(int descriptor, std::span<std::byte const>& bytes) noexcept {
  constexpr int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  long seals = kernel::call(SYS_fcntl, descriptor, F_GET_SEALS);
  if (seals < 0 || (seals & needed) != needed) return EBADMSG;
  long size = kernel::call(SYS_lseek, descriptor, 0, SEEK_END);
  if (size <= 0 || size > static_cast<long>(launch_bound::bytes)) return EBADMSG;
  long start = kernel::call(SYS_mmap, nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (start < 0) return static_cast<int>(-start);
  bytes = {reinterpret_cast<std::byte const*>(start), static_cast<std::size_t>(size)};
  return 0;
}

bool agrees(launch_view const& view, handed_over const& handed) noexcept {
  return view.header.listeners == handed.listeners &&
         view.has(launch_flag::has_executable) == (handed.executable >= 0) &&
         view.has(launch_flag::has_output) == (handed.output >= 0) &&
         view.has(launch_flag::has_cgroup) == (handed.cgroup >= 0);
}

bool is_abandoned(int channel) noexcept {
  char nothing_is_sent = 0;
  return kernel::call(SYS_recvfrom, channel, &nothing_is_sent, 1, MSG_DONTWAIT, nullptr, nullptr) == 0;
}

void give_up(int channel, launch_stage stage, int error_number) noexcept {
  talk::report report{talk::magic, static_cast<std::uint32_t>(stage), error_number};
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  long sent = -EINTR;
  while (sent == -EINTR) sent = kernel::call(SYS_sendto, channel, &report, sizeof report, flags, nullptr, 0);
  if (sent < 0 && stage == launch_stage::conversation) {
    constexpr std::string_view hint = "handoff-exec: only handoffd can start this\n";
    kernel::call(SYS_write, STDERR_FILENO, hint.data(), hint.size());
  }
  for (;;) kernel::call(SYS_exit_group, exit_not_launched);
}

}  // namespace handoff
