// One accepted connection, and the lists that know whose time is over.
#pragma once

#include <base/unique_fd.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace handoff {

using moment = std::chrono::steady_clock::time_point;

// What an epoll event is about; the first member of everything that is registered.
enum class source_kind : std::uint8_t { stop, listener, connection };
struct event_source {
  source_kind kind;
};

enum class connection_phase : std::uint8_t {
  reading,    // a request, or the first byte of the next one
  writing,    // a reply that did not fit into the socket's buffer
  lingering,  // our side is shut; what the client still sends is dropped, so that no reset overtakes the
              // reply
};

struct connection : event_source {
  static constexpr std::size_t input_max = 8192;  // the largest request head

  connection() : event_source{source_kind::connection} {}
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  unique_fd fd;
  connection_phase phase = connection_phase::reading;
  bool close_after_reply = false;
  bool linger_after_reply = false;
  bool answered = false;       // at least one request: waiting for the next one is being idle
  std::uint32_t interest = 0;  // events registered with epoll, 0 when not registered
  std::size_t filled = 0;
  std::string own_reply;    // one that is not fixed
  std::string_view unsent;  // points into a reply
  std::array<char, input_max> input;

  moment deadline{};
  connection* before = nullptr;  // neighbours in a deadline list
  connection* after = nullptr;
  class deadline_list* list = nullptr;

  bool idle() const { return phase == connection_phase::reading && answered && filled == 0; }
};

// Connections with one and the same timeout, so that the order of arrival is the order of deadlines.
class deadline_list {
 public:
  explicit deadline_list(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  // Gives `c` a new deadline and moves it to the end, from whatever list it is in.
  void put(connection& c, moment now) {
    if (c.list != nullptr) c.list->take(c);
    c.deadline = now + timeout_;
    c.list = this;
    c.before = last_;
    c.after = nullptr;
    (last_ != nullptr ? last_->after : first_) = &c;
    last_ = &c;
  }

  void take(connection& c) {
    (c.before != nullptr ? c.before->after : first_) = c.after;
    (c.after != nullptr ? c.after->before : last_) = c.before;
    c.before = c.after = nullptr;
    c.list = nullptr;
  }

  connection* first() const { return first_; }

 private:
  std::chrono::milliseconds timeout_;
  connection* first_ = nullptr;
  connection* last_ = nullptr;
};

}  // namespace handoff
