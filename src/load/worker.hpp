// One thread's share of the load: some clients on one epoll. Internal to the library.
#pragma once

#include "plan.hpp"
#include "reply_reader.hpp"
#include "tally.hpp"
#include "window_marks.hpp"

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <regex.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace handoff::load {

// What a worker needs to know of the whole.
struct share {
  unsigned index = 0;         // of the worker, from 0
  unsigned clients = 1;       // its own
  double rate = 0;            // its own
  std::int64_t first_ns = 0;  // when its first request is planned
  std::optional<std::int64_t> end_ns;
  std::optional<std::uint64_t> requests;
};

class worker {
 public:
  worker(plan const&, share, window_marks const&);
  ~worker();
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;

  result<> prepare();
  void run();             // until the end of its share, or stop()
  void stop();            // from any thread
  report tell() const;    // from any thread
  counters look() const;  // from any thread

 private:
  enum class phase : std::uint8_t { free, sending, receiving, held_back };

  struct client {
    unique_fd fd;
    phase now = phase::free;
    bool reused = false;         // the connection has served a request before
    std::uint32_t interest = 0;  // events registered with epoll
    bool out_of_own = false;     // held back for want of ports or descriptors, not for the server's queue
    std::int64_t planned_ns = 0;
    std::int64_t started_ns = 0;
    std::uint64_t sequence = 0;
    std::string datagram;
    std::string_view unsent;
    reply_reader reply;
  };

  // The schedule: worker.cpp.
  std::int64_t planned(std::uint64_t request) const;
  std::int64_t end_ns() const;
  bool all_begun(std::int64_t now) const;
  void launch(std::int64_t now);
  void retry_held_back(std::int64_t now);
  void expire(std::int64_t now);
  std::int64_t sleep_until(std::int64_t now) const;
  void count_unsent();

  // One request: worker_request.cpp.
  result<> prepare_request();
  void begin(client&, std::int64_t planned_ns, std::int64_t now);
  void attempt(client&);
  bool open(client&);
  bool bind_source(client&);
  bool watch(client&, std::uint32_t events);
  void on_event(client&);
  void write(client&);
  void read_stream(client&);
  void read_datagrams(client&);
  void reply_complete(client&);
  void connection_ended(client&);
  void connection_broke(client&, int error_number, std::string_view doing);
  bool retry_on_new_connection(client&);
  void hold_back(client&, bool own);
  void succeed(client&, std::string_view version, bool keep_connection);
  void fail(client&, failure_kind, std::string_view what, std::string_view version = {});
  void release(client&, bool keep_connection);
  std::string_view version_of(client const&) const;
  std::string_view version_in(std::string_view text) const;

  plan const& plan_;
  share share_;
  window_marks const& shared_marks_;
  std::vector<window_marks::mark> marks_;
  std::string request_;
  regex_t pattern_{};
  bool has_pattern_ = false;
  unique_fd epoll_, wake_;
  std::vector<std::unique_ptr<client>> clients_;
  std::vector<client*> free_;
  std::vector<client*> held_back_;
  std::atomic<std::int64_t> stop_ns_ = INT64_MAX;  // when stop() was called
  std::uint64_t begun_ = 0;
  std::uint64_t connections_ = 0;
  std::int64_t next_expiry_ns_ = 0;
  std::vector<char> buffer_ = std::vector<char>(65536);
  mutable std::mutex mutex_;  // guards the tally, which other threads look at
  report tally_;
};

}  // namespace handoff::load
