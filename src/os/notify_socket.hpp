// The socket at which one instance tells how it is doing (sd_notify(3)): a datagram socket of its own, so
// that what arrives there from its user or from root belongs to it, and no sender's pid is ever looked up.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/descriptor_disposer.hpp>
#include <os/loop.hpp>
#include <os/socket_path.hpp>

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

struct notify_sender {
  pid_t pid = 0;  // as it was when it sent; may be gone or another process by now
  uid_t user = 0;
  gid_t group = 0;
};

class notify_socket {
 public:
  static constexpr std::size_t longest_datagram = 4096;

  struct counts {
    std::uint64_t delivered = 0;
    std::uint64_t strangers = 0;  // of another user
    std::uint64_t broken = 0;  // too long, without credentials, or with descriptors that did not arrive whole
  };
  // The bytes are the caller's for the length of the call, the descriptors for good. Must not destroy the
  // socket.
  using receiver = std::function<void(notify_sender const&, std::string_view bytes, std::vector<unique_fd>)>;

  // Binds `path`, which only `user` and root can send to. `dispose` outlives the socket.
  static result<std::unique_ptr<notify_socket>> create(loop& on, std::string path, uid_t user,
                                                       descriptor_disposer& dispose, receiver received);
  // Takes over a bound socket from a predecessor.
  static result<std::unique_ptr<notify_socket>> adopt(loop& on, unique_fd fd, uid_t user,
                                                      descriptor_disposer& dispose, receiver received);
  ~notify_socket();  // removes the file
  notify_socket(notify_socket const&) = delete;
  notify_socket& operator=(notify_socket const&) = delete;

  std::string const& path() const { return path_; }
  int fd() const { return fd_.get(); }
  counts const& seen() const { return seen_; }

  // Receives what has arrived, up to a bound a call so that a flood starves nobody. The loop calls it; call
  // it once more after the instance ended, for the last words. Returns how many datagrams there were.
  int receive();

 private:
  notify_socket(unique_fd fd, std::string path, uid_t user, descriptor_disposer& dispose, receiver received);
  result<> start(loop& on);
  bool receive_one(std::vector<unique_fd>& unwanted);

  unique_fd fd_;
  std::string path_;
  owned_socket_file file_;
  uid_t user_;
  descriptor_disposer& dispose_;
  receiver received_;
  counts seen_;
  watch watch_;
};

}  // namespace handoff
