// The running instances: launched, listened to, signalled, reaped, and whatever they left behind killed.
#pragma once

#include <app/records.hpp>
#include <core/event.hpp>
#include <core/ports.hpp>
#include <os/cgroup.hpp>
#include <os/descriptor_disposer.hpp>
#include <os/fd_store.hpp>
#include <os/loop.hpp>
#include <os/notify_socket.hpp>
#include <os/output_pipe.hpp>
#include <os/process.hpp>
#include <os/runtime_directory.hpp>
#include <wire/notify_datagram.hpp>

#include <handoffd/listener_table.hpp>
#include <handoffd/release.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace handoff {

// What the tables in this folder have in common.
struct surroundings {
  loop& events;
  std::function<void(happening)> post;                     // to the engine
  std::function<void(log_level, std::string const&)> log;  // one line
  int launcher = -1;                                       // handoff-exec, open
  std::string service;
  std::string control_socket;
  std::string notify_directory;
  std::optional<std::string> delegated_cgroup;
};

class inherited_descriptors;
class manifest;
struct kept_instance;
struct snapshot;

class instance_table final : public launcher {
 public:
  using find_release = std::function<release const*(generation_number)>;

  static result<std::unique_ptr<instance_table>> create(surroundings const&, listener_table&, find_release);
  ~instance_table() override;

  // For a successor; and what a successor does first. Of a predecessor that died, instances that are gone,
  // or have another process under their number, are left out.
  void keep(snapshot&, manifest&) const;
  result<> adopt(snapshot const&, inherited_descriptors&);
  bool is_calm() const;  // nothing is being launched
  bool has(instance_id const& id) const { return running_.contains(id); }

  // Those that were adopted without the socket to which they told how they are.
  std::vector<instance_id> const& unheard() const { return unheard_; }

  void launch(instance_id const&) override;
  void ask_to_drain(instance_id const&) override;
  void kill(instance_id const&) override;
  void abort(instance_id const&) override;

  // The pids that belong to somebody; every other child of ours is an orphan.
  std::vector<pid_t> pids() const;

  // By which all processes of our instances are known that keep their environment.
  std::vector<std::string> notify_variables() const;

  // Whether a process of the generation has a descriptor of that socket; yes when there is too much to look
  // at.
  bool is_held(generation_number, int fd) const;

  // Kills what ended instances left behind. Called when a child of ours ended.
  void sweep(std::vector<pid_t> const& known);
  bool has_remains() const { return !remains_.empty(); }  // of ended instances, as far as swept

  // The last lines of a generation's instances, the latest to end last; kept for the newest generations.
  std::vector<std::string> last_words(generation_number) const;
  std::uint64_t lines_of(generation_number) const;  // how many its running instances wrote, that we know of

  std::map<instance_id, observed_instance> observe() const;
  std::uint64_t stray_notifications() const;
  std::optional<pid_t> main_pid(instance_id const&) const;

 private:
  struct running;
  struct remains;

  instance_table(surroundings const&, listener_table&, find_release);
  result<> start(running&, release const&);
  result<> adopt(kept_instance const&, inherited_descriptors&);
  result<> adopt_surroundings(running&, kept_instance const&, inherited_descriptors&);
  result<unique_fd> take_output(running&, kept_instance const&, inherited_descriptors&);
  notify_socket::receiver hears(instance_id const&);
  output_pipe::line_receiver logs(instance_id const&);
  result<> open_notify_socket(running&, release const&);
  result<unique_fd> open_output(running&, release const&);
  result<unique_fd> give_cgroup(running&);
  result<launch_spec> describe(running const&, release const&, std::vector<int>& descriptors) const;
  result<> watch_launched(running&);
  result<watch> watch_end(process const&, instance_id const&);
  void read_report(instance_id const&);
  void ended(instance_id const&);
  bool await_collection(running&);
  void bury(running&);
  void keep_words(generation_number, std::vector<std::string> const&);
  void keep_words(kept_instance const&);
  void hear(instance_id const&, notify_datagram const&, std::vector<unique_fd>);
  void hear_watchdog(instance_id const&, notify_datagram const&);
  void follow_main(running&, pid_t);
  void keep_descriptors(generation_number from, notify_datagram const&, std::vector<unique_fd>);
  void replace_lost(generation_number);
  void tell(log_level, instance_id const&, std::string const&) const;

  surroundings around_;
  listener_table& listeners_;
  find_release release_of_;
  descriptor_disposer disposer_;
  std::unique_ptr<fd_store> store_;
  std::map<instance_id, std::unique_ptr<running>> running_;
  std::vector<instance_id> unheard_;
  std::vector<remains> remains_;  // of ended instances: what may still be alive
  std::map<generation_number, std::vector<std::string>> last_words_;
  std::set<generation_number> replaced_;  // an upgrade was asked for, since nobody can launch it
  std::uint64_t strays_ = 0;              // of sockets that are gone
};

}  // namespace handoff
