// A connection to a supervisor's control socket, as a client: blocking, and every wait has a deadline.
//
// Errors that a caller may want to tell apart carry these codes: timed_out, interrupted (by the operator),
// and not_connected when the other side is gone. Those of connect(2) come as they are.
#pragma once

#include <base/unique_fd.hpp>
#include <core/ids.hpp>
#include <wire/varlink.hpp>

#include <optional>
#include <string>

namespace handoff::cli {

instant now();
// When a wait that begins now ends; without `patience` never.
instant deadline_after(std::optional<duration> patience);

// SIGINT and SIGTERM as something a wait can notice, for as long as this exists.
class interruptions {
 public:
  static result<interruptions> catch_them();
  int fd() const { return fd_.get(); }
  // Waits for that long, or less when interrupted; whether it was.
  bool come_within(duration) const;

 private:
  unique_fd fd_;
};

class connection {
 public:
  static result<connection> open(std::string const& path, instant deadline);

  result<> send(varlink::call const&, instant deadline);
  // The next reply.
  result<varlink::reply> receive(instant deadline);
  // A reply that has come already, without waiting; nothing when there is none yet.
  result<std::optional<varlink::reply>> receive_if_there();

  // From now on every wait ends with `interrupted` when `by` says so; it must outlive the connection.
  void heed(interruptions const& by) { interrupted_by_ = by.fd(); }

  int fd() const { return fd_.get(); }

 private:
  explicit connection(unique_fd fd) : fd_(std::move(fd)) {}
  result<std::optional<varlink::reply>> take_message();
  result<> read_some();
  result<> wait_until(short event, instant deadline) const;

  unique_fd fd_;
  int interrupted_by_ = -1;
  std::string input_;
  std::size_t searched_ = 0;  // of input_, without finding the end of a message
};

bool is(error const&, std::errc);

}  // namespace handoff::cli
