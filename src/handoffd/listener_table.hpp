// Every listening socket that the supervisor owns: opened before anybody needs it, watched for being shut,
// closed when no configuration and no release that could be launched names it any more.
#pragma once

#include <app/records.hpp>
#include <core/event.hpp>
#include <core/ports.hpp>
#include <os/hangup_watch.hpp>
#include <os/listener.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace handoff {

// A listener under the name by which one release knows it.
struct named_listener {
  std::string name;
  std::size_t listener = 0;
};

class listener_table final : public traffic {
 public:
  using post = std::function<void(happening)>;
  using report = std::function<void(std::string)>;  // of what went wrong and is tried again

  static result<std::unique_ptr<listener_table>> create(loop&, post, report,
                                                        std::vector<named_descriptor> adopted);

  // Makes all of them open, or changes nothing. One with the address of an open listener is that listener.
  // What is opened counts as configured until the next call.
  result<std::vector<named_listener>> configure(std::vector<listener_settings> const&);

  // Keeps the listeners open for a generation until drop().
  void keep(generation_number, std::vector<named_listener> const&);
  void drop(generation_number);

  int fd(std::size_t listener) const { return entries_.at(listener).socket.fd(); }
  std::string name(std::size_t listener) const;
  std::vector<observed_listener> observe() const;
  std::size_t left_over() const { return adopted_.size(); }  // adopted, but named by no listener

  // Services override the backlog: to be called when one became ready and when one ended.
  void restore_backlogs();

  void split(traffic_split const&) override { restore_backlogs(); }
  void settle(generation_number) override {}
  void close_slots(generation_number) override {}
  void remove_slots(generation_number) override {}
  void reopen(std::size_t listener, generation_number slot) override;

 private:
  struct entry {
    listener socket;
    std::uint32_t reopened = 0;
    watch retry;
  };

  listener_table(loop& on, post to_engine, report tell, std::vector<named_descriptor> adopted);
  entry* find(listener_settings const&);
  std::size_t add(listener);
  void watch_entry(std::size_t);
  void close_unused();

  loop& loop_;
  post post_;
  report report_;
  std::vector<named_descriptor> adopted_;
  std::unique_ptr<hangup_watch> hangups_;
  std::map<std::size_t, entry> entries_;
  std::size_t next_ = 0;
  std::set<std::size_t> configured_;
  std::map<generation_number, std::set<std::size_t>> users_;
};

}  // namespace handoff
