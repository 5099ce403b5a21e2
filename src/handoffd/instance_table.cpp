#include "instance_table.hpp"

#include <os/connections.hpp>
#include <os/launch.hpp>
#include <os/output_file.hpp>
#include <os/pidfd.hpp>
#include <os/process_tree.hpp>
#include <os/service_manager.hpp>
#include <os/socket_holders.hpp>

#include <handoffd/running_instance.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>

namespace handoff {

namespace {

duration to_duration(std::chrono::microseconds d) {
  return std::min(std::chrono::ceil<duration>(d), limit::longest);
}

std::string notify_variable(notify_socket const& of) { return "NOTIFY_SOCKET=" + of.path(); }

}  // namespace

instance_table::instance_table(surroundings const& around, listener_table& listeners, find_release release_of)
    : around_(around), listeners_(listeners), release_of_(std::move(release_of)), disposer_([](pid_t) {}) {}

instance_table::~instance_table() = default;

result<std::unique_ptr<instance_table>> instance_table::create(surroundings const& around,
                                                               listener_table& listeners,
                                                               find_release release_of) {
  std::unique_ptr<instance_table> made(new instance_table(around, listeners, std::move(release_of)));
  auto store = fd_store::create(around.events, made->disposer_, 0,
                                [raw = made.get()] { raw->around_.post(instance_changed{}); });
  if (!store) return std::unexpected(store.error());
  made->store_ = std::move(*store);
  return made;
}

void instance_table::tell(log_level level, instance_id const& id, std::string const& what) const {
  around_.log(level, "instance " + to_string(id) + ": " + what);
}

// ---- launching

void instance_table::launch(instance_id const& id) {
  release const* of = release_of_(id.generation);
  auto r = std::make_unique<running>();
  r->id = id;
  auto started = of == nullptr ? plain_failure("its release is gone") : start(*r, *of);
  if (started) {
    running_.emplace(id, std::move(r));
    return;
  }
  // A process that nobody watches may not go on with our listeners.
  if (r->launched)
    bury(*r);
  else if (r->cgroup)
    (void)r->cgroup->remove();
  around_.post(launch_failed{id, started.error().message(), is_transient(started.error())});
  if (of != nullptr && of->executable->is_lost()) replace_lost(id.generation);
}

// By what is installed now, rather than leave the service down for as long as nobody looks. Once, since
// each try at a restart comes here.
void instance_table::replace_lost(generation_number g) {
  if (!replaced_.insert(g).second) return;
  around_.log(log_level::warning, "generation " + std::to_string(number(g)) +
                                      " cannot be started again: what is installed now is tried");
  around_.post(upgrade_requested{cause::retry, {}, {}});
}

result<> instance_table::start(running& r, release const& of) {
  auto output = open_output(r, of);
  if (!output) return std::unexpected(output.error());
  if (auto opened = open_notify_socket(r, of); !opened) return opened;
  auto cgroup = give_cgroup(r);
  if (!cgroup) return std::unexpected(cgroup.error());
  std::vector<int> descriptors;
  auto spec = describe(r, of, descriptors);
  if (!spec) return std::unexpected(spec.error());
  spec->has_cgroup = static_cast<bool>(*cgroup);
  spec->has_output = static_cast<bool>(*output);
  auto bytes = encode_launch(*spec);
  if (!bytes) return std::unexpected(bytes.error());
  auto started = handoff::launch(around_.launcher, *bytes,
                                 {of.executable->descriptor(), output->get(), cgroup->get(), descriptors});
  if (!started) return std::unexpected(started.error());
  r.launched = process(started->pid, std::move(started->pidfd));
  r.channel = std::move(started->channel);
  return watch_launched(r);
}

notify_socket::receiver instance_table::hears(instance_id const& id) {
  return [this, id](notify_sender const&, std::string_view bytes, std::vector<unique_fd> fds) {
    auto read = read_notify_datagram(bytes);
    if (!read) return disposer_.dispose(std::move(fds));
    hear(id, *read, std::move(fds));
  };
}

output_pipe::line_receiver instance_table::logs(instance_id const& id) {
  return [this, id](std::string line) {
    around_.log(log_level::info, around_.service + "[" + to_string(id) + "]: " + line);
  };
}

result<> instance_table::open_notify_socket(running& r, release const& of) {
  auto opened = notify_socket::create(
      around_.events,
      around_.notify_directory + "/" + to_string(r.id) + "." + std::to_string(r.id.incarnation),
      of.identity.user.value_or(::getuid()), disposer_, hears(r.id));
  if (!opened) return std::unexpected(opened.error());
  r.notify = std::move(*opened);
  return {};
}

result<unique_fd> instance_table::open_output(running& r, release const& of) {
  auto const& wanted = of.service.output;
  switch (wanted.kind) {
    case output_kind::inherit:
      return unique_fd();
    case output_kind::null:
      return open_output_file("/dev/null", of.identity);
    case output_kind::file:
      return open_output_file(wanted.path, of.identity);
    case output_kind::journal:
      return service_manager::journal_stream(around_.service);
    case output_kind::capture:
      break;
  }
  auto pipe = output_pipe::create(around_.events, of.identity.user.value_or(::getuid()), logs(r.id));
  if (!pipe) return std::unexpected(pipe.error());
  r.output = std::move(pipe->reader);
  return std::move(pipe->service_end);
}

// Its list of processes, for the launcher to move in.
result<unique_fd> instance_table::give_cgroup(running& r) {
  if (!around_.delegated_cgroup) return unique_fd();
  auto made =
      generation_cgroup::create(*around_.delegated_cgroup, around_.service + "-" + to_string(r.id) + "." +
                                                               std::to_string(r.id.incarnation));
  if (!made) return std::unexpected(made.error());
  r.cgroup = std::move(*made);
  return r.cgroup->open_processes();
}

result<launch_spec> instance_table::describe(running const& r, release const& of,
                                             std::vector<int>& descriptors) const {
  launch_extras extras{.arguments = of.service.command, .environment = identity_variables(around_, r.id)};
  extras.environment.push_back(notify_variable(*r.notify));
  if (of.service.watchdog)
    extras.environment.push_back("WATCHDOG_USEC=" +
                                 std::to_string(std::chrono::microseconds(*of.service.watchdog).count()));
  if (of.service.fd_store_max > 0)
    extras.environment.push_back("FDSTORE=" + std::to_string(of.service.fd_store_max));
  for (auto const& l : of.listeners) {
    extras.descriptor_names.push_back(l.name);
    descriptors.push_back(listeners_.fd(l.listener, r.id.generation));
  }
  for (auto const& stored : store_->entries()) {
    extras.descriptor_names.push_back(stored.name);
    descriptors.push_back(stored.fd);
  }
  return service_launch(of, extras);
}

void instance_table::read_report(instance_id const& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  running& r = *found->second;
  auto report = read_launch_report(r.channel.get());
  if (report && report->progress == launch_progress::running) return;
  r.channel_watch.reset();
  r.channel.reset();
  if (!report) {
    r.launch_failure = report.error().message();
  } else if (report->progress == launch_progress::failed) {
    r.launch_failure = describe_launch_failure(report->stage, report->error_number);
    r.failure_is_transient =
        is_transient({std::error_code(report->error_number, std::generic_category()), *r.launch_failure});
  }
  // A failed launch is told when the launcher has ended.
  if (!r.launch_failure) around_.post(launched{id});
}

// ---- who is whose

std::vector<pid_t> instance_table::pids() const {
  std::vector<pid_t> all;
  for (auto const& [id, r] : running_) {
    if (r->launched) all.push_back(r->launched.pid());
    if (r->adopted) all.push_back(r->adopted->pid());
  }
  return all;
}

std::vector<std::string> instance_table::notify_variables() const {
  std::vector<std::string> all;
  for (auto const& [id, r] : running_) all.push_back(notify_variable(*r->notify));
  return all;
}

// By session and cgroup first: by its variables a worker with a session of its own is known as well, but
// they are read from every process on the machine.
bool instance_table::is_held(generation_number g, int fd) const {
  std::vector<pid_t> sessions, members;
  for (auto const& [id, r] : running_) {
    if (id.generation != g) continue;
    sessions.push_back(r->launched.pid());
    if (r->adopted) sessions.push_back(::getsid(r->adopted->pid()));
    if (r->cgroup) std::ranges::copy(r->cgroup->processes(), std::back_inserter(members));
  }
  auto among = [](std::vector<pid_t> const& all, pid_t pid) {
    return pid > 0 && std::ranges::find(all, pid) != all.end();
  };
  auto variables = generation_variables(around_, g);
  return is_held_by([&](pid_t pid) { return among(sessions, ::getsid(pid)) || among(members, pid); }, fd) ||
         is_held_by([&](pid_t pid) { return carries_variables(pid, variables); }, fd);
}

// ---- signals

void instance_table::ask_to_drain(instance_id const& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  release const* of = release_of_(id.generation);
  int signal = of == nullptr ? SIGTERM : of->service.drain.signal;
  if (auto sent = found->second->main().signal(signal); !sent)
    tell(log_level::warning, id, sent.error().message());
}

void instance_table::kill(instance_id const& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  running& r = *found->second;
  if (auto lost = count_connections(r.main(), disposer_); lost > 0)
    tell(log_level::warning, id, "is killed with " + std::to_string(lost) + " open connections");
  if (r.cgroup) (void)r.cgroup->kill_all();
  if (r.adopted) (void)r.adopted->signal(SIGKILL);
  if (auto killed = r.launched.kill_group(); !killed && !r.adopted)
    tell(log_level::warning, id, killed.error().message());
}

void instance_table::abort(instance_id const& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  if (auto sent = found->second->main().signal(SIGABRT); !sent)
    tell(log_level::warning, id, sent.error().message());
}

// ---- what instances say

void instance_table::hear(instance_id const& id, notify_datagram const& said, std::vector<unique_fd> fds) {
  auto found = running_.find(id);
  if (found == running_.end()) return disposer_.dispose(std::move(fds));
  running& r = *found->second;
  if (said.status) r.status = *said.status;
  if (said.error_number) tell(log_level::warning, id, "ERRNO=" + std::to_string(*said.error_number));
  if (said.main_pid) follow_main(r, *said.main_pid);
  if (said.state == notify_state::ready) around_.post(became_ready{id});
  if (said.state == notify_state::stopping) tell(log_level::info, id, "says that it is stopping");
  if (said.extend_timeout) around_.post(extended{id, to_duration(*said.extend_timeout)});
  hear_watchdog(id, said);
  keep_descriptors(id.generation, said, std::move(fds));
  if (said.main_pid || said.store || said.remove_stored) around_.post(instance_changed{id});
}

void instance_table::hear_watchdog(instance_id const& id, notify_datagram const& said) {
  if (said.watchdog == notify_watchdog::trigger) return around_.post(watchdog_pulled{id});
  std::optional<duration> interval;
  if (said.watchdog_period) interval = to_duration(*said.watchdog_period);
  if (said.watchdog || interval) around_.post(watchdog_fed{id, interval});
}

// Believed when the process carries the instance's variables or lives in its cgroup.
void instance_table::follow_main(running& r, pid_t pid) {
  if (pid == r.main().pid()) return;
  unique_fd pidfd(open_pidfd(pid));
  bool its_own =
      carries_variables(pid, identity_variables(around_, r.id)) || (r.cgroup && r.cgroup->holds(pid));
  if (!pidfd || !its_own)
    return tell(log_level::warning, r.id, "MAINPID=" + std::to_string(pid) + " is not one of its processes");
  process adopted(pid, std::move(pidfd));
  auto watched = watch_end(adopted, r.id);
  if (!watched) return tell(log_level::error, r.id, watched.error().message());
  r.process_watch = std::move(*watched);
  r.adopted = std::move(adopted);
  tell(log_level::info, r.id, "its main process is " + std::to_string(pid));
}

void instance_table::keep_descriptors(generation_number from, notify_datagram const& said,
                                      std::vector<unique_fd> fds) {
  // As was promised to the generation that sends, whatever another one is allowed.
  if (release const* of = release_of_(from)) store_->set_most(of->service.fd_store_max);
  if (said.remove_stored && said.descriptor_name) store_->remove(*said.descriptor_name);
  auto polling = said.poll_stored ? store_polling::until_hangup : store_polling::never;
  bool full = false;
  if (said.store)
    for (auto& fd : fds) full |= store_->add(said.stored_name(), fd, polling) == storing::full;
  if (full)
    around_.log(log_level::warning,
                "the service's fd store is full: '" + said.stored_name() + "' was dropped");
  // What is left in one go; a barrier's descriptor too, when all before it was handled.
  disposer_.dispose(std::move(fds));
}

// ---- what there is to see

std::map<instance_id, observed_instance> instance_table::observe() const {
  std::map<instance_id, observed_instance> all;
  for (auto const& [id, r] : running_) all[id] = {r->main().pid(), r->status};
  return all;
}

std::optional<pid_t> instance_table::main_pid(instance_id const& id) const {
  auto found = running_.find(id);
  if (found == running_.end()) return {};
  return found->second->main().pid();
}

std::uint64_t instance_table::stray_notifications() const {
  std::uint64_t count = strays_;
  for (auto const& [id, r] : running_) count += r->notify->seen().strangers + r->notify->seen().broken;
  return count;
}

}  // namespace handoff
