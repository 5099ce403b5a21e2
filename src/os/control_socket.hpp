// The server side of the control socket: a Unix stream socket whose messages end in a NUL byte. Knows nothing
// of what the messages mean; who may ask for what is decided by whoever gets them, from the peer's
// credentials.
//
// Nothing a client does can hold up the loop or take more than its bounds: a slow reader is cut off, never
// awaited, and so is who says nothing, or only part of a message, for too long.
#pragma once

#include <base/unique_fd.hpp>
#include <os/control_admission.hpp>
#include <os/loop.hpp>
#include <os/socket_path.hpp>

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// Who is at the other end, as the kernel knew it when that end connected (SO_PEERCRED and SO_PEERGROUPS,
// unix(7)).
struct control_peer {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;  // supplementary ones
};
bool is_member(control_peer const&, gid_t group);

struct control_limits {
  control_places places;
  std::size_t message_bytes = 64 * 1024;  // of one message, its NUL not counted
  std::size_t unread_bytes =
      256 * 1024;  // who leaves more than this unread when more is to be sent is cut off
  duration patience = std::chrono::seconds(10);
};

// Called from the loop, never from within send(). They must not destroy the control_socket.
struct control_handlers {
  // One message, without its NUL. The next one of this client comes when this one has its complete reply.
  std::function<void(client_id, control_peer const&, std::string_view)> on_message;
  // A client that had sent a message has left or was cut off.
  std::function<void(client_id)> on_gone;
};

struct control_listener {
  unique_fd fd;
  owned_socket_file file;  // removed with this value unless released
};

// Listens at `path`, replacing a socket file that is there: the caller holds the lock of the service, so it
// is stale. The file is for its owner alone (0600), or also for the members of `group` (0660).
result<control_listener> listen_for_control(std::string const& path, std::optional<gid_t> group);

enum class reply_part { complete, more_follow };

// A client as it goes over to a successor.
struct carried_client {
  std::string input;     // that came and is not handed out
  std::string output;    // that is to go
  bool busy = false;     // waits for the reply to its message, or for more of it
  bool ended = false;    // has shut its sending side
  bool closing = false;  // takes no more messages
};

class control_socket {
 public:
  // `refusal` is sent, as far as it goes at once, to a client for which there is no place.
  static result<std::unique_ptr<control_socket>> serve(loop&, unique_fd listening, control_handlers,
                                                       std::string refusal, control_limits = {});
  ~control_socket();
  control_socket(control_socket const&) = delete;
  control_socket& operator=(control_socket const&) = delete;

  // Sends (part of) the reply to the message that the client sent last; a complete reply may be empty, after
  // a message that wants none. A client that is gone already is no error.
  void send(client_id, std::string_view bytes, reply_part = reply_part::complete);
  // Takes no more messages from the client, and closes when all was sent.
  void close_after_send(client_id);

  // All clients, with descriptors that stay ours.
  struct client_view {
    client_id id;
    int fd;
    carried_client is;
  };
  std::vector<client_view> clients_now() const;
  // Goes on with a client of a predecessor; nothing when its socket does not say who it is.
  std::optional<client_id> take_over(unique_fd, carried_client);

  std::size_t clients() const { return clients_.size(); }
  int listening_fd() const { return listening_.get(); }

 private:
  struct client;
  control_socket(loop&, unique_fd listening, control_handlers, std::string refusal, control_limits);
  result<> begin_accepting();
  void accept_some();
  bool spend_spare();
  void greet(unique_fd);
  std::vector<taken_place> taken() const;
  std::vector<client_id> everybody() const;
  void serve_one(client_id);
  void serve_all();
  void settle(client_id);
  void read(client&);
  void flush(client&);
  void hand_out_messages(client_id, client&);
  result<> watch_for_more(client_id, client&);
  void drop(client_id);
  void wake_at(instant);
  void look_after_all();

  loop& loop_;
  unique_fd listening_;
  control_handlers handlers_;
  std::string refusal_;
  control_limits limits_;
  uid_t own_uid_;
  unique_fd spare_;  // given up to accept one more client when there are no descriptors left
  watch accepting_;
  watch wake_;
  std::optional<instant> wakes_;
  std::map<client_id, client> clients_;
  std::uint64_t last_id_ = 0;
};

}  // namespace handoff
