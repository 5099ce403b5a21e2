// Notices that a descriptor hung up, without setting a flag on it and without waking for anything else.
//
// The loop sets O_NONBLOCK on what it watches, and a passed socket's flags are everybody's. So the
// descriptors go into an epoll descriptor of our own that asks for no event at all (hang-up and error always
// come), and only that one is given to the loop. For listeners: a service that shuts a shared one down does
// it for everybody; connections that queue up cause no wake-up. A UDP socket never hangs up: there is nothing
// to watch.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/loop.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

namespace handoff {

enum class hangup {
  both_ways,    // EPOLLHUP and EPOLLERR
  reading_too,  // EPOLLRDHUP as well: a Unix listener that was shut for reading only refuses everybody too
  arrival_too,  // EPOLLIN as well: a listener that somebody waits at
};

class hangup_watch {
 public:
  // `hung_up` is called with the key of a descriptor, once; after that the key is not watched any more until
  // the next watch(). It may call watch() and forget(), but must not destroy this.
  static result<std::unique_ptr<hangup_watch>> create(loop& on, hangup which,
                                                      std::function<void(std::uint64_t key)> hung_up);
  ~hangup_watch();
  hangup_watch(hangup_watch const&) = delete;
  hangup_watch& operator=(hangup_watch const&) = delete;

  // Watches `fd` under `key`, in place of what the key named before. `fd` stays the caller's; forget() comes
  // before it is closed, since a copy in a service would keep it watched for ever. What hung up already is
  // told as well. Fails with EPERM for what cannot be polled, such as a regular file.
  result<> watch(std::uint64_t key, int fd);
  void forget(std::uint64_t key);

 private:
  hangup_watch(unique_fd epoll, hangup which, std::function<void(std::uint64_t)> hung_up);
  void look();

  unique_fd epoll_;
  hangup which_;
  std::function<void(std::uint64_t)> hung_up_;
  std::unordered_map<std::uint64_t, int> watched_;
  handoff::watch loop_watch_;  // after epoll_: it stops before that is closed
};

}  // namespace handoff
