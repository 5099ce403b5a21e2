// Going on where a predecessor ended, and becoming a successor.
#include <app/records.hpp>
#include <os/pidfd.hpp>
#include <os/process_tree.hpp>
#include <os/service_manager.hpp>

#include <fcntl.h>
#include <handoffd/second_try.hpp>
#include <handoffd/supervisor_parts.hpp>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>

namespace handoff {

namespace {

// How long a moment is waited for at which nothing is in flight that cannot go over.
constexpr duration longest_wait{30'000};

std::map<generation_number, kept_count> to_kept(std::map<generation_number, counted_traffic> const& counted) {
  std::map<generation_number, kept_count> all;
  for (auto const& [g, c] : counted) all[g] = {c.connections, c.datagrams};
  return all;
}

std::vector<instance> running_in(state const& s) {
  std::vector<instance> all;
  for (auto const& g : s.generations)
    std::ranges::copy_if(g.instances, std::back_inserter(all), &instance::is_running);
  return all;
}

// Whether there is another file by now than the one that was opened.
bool is_replaced(int opened, std::string const& path) {
  struct stat tried{}, there{};
  if (::fstat(opened, &tried) < 0 || ::stat(path.c_str(), &there) < 0) return false;
  return tried.st_dev != there.st_dev || tried.st_ino != there.st_ino;
}

}  // namespace

// ---- going on

result<> supervisor::parts::adopt_doors() {
  return listeners->adopt(options.left->listeners, options.inherited);
}

result<> supervisor::parts::adopt_staff() {
  snapshot const& left = *options.left;
  if (auto adopted = releases->adopt(left, options.inherited); !adopted) return adopted;
  if (auto adopted = instances->adopt(left, options.inherited); !adopted) return adopted;
  experiment = left.experiment;
  for (auto const& [g, c] : left.before_experiment) before_experiment[g] = {c.connections, c.datagrams};
  std::vector<generation_number> known;
  for (auto const& g : left.state.generations) known.push_back(g.number);
  listeners->remove_slots_but(known);
  auto needs_slot = [&](generation_number g) {
    auto const* of = left.state.find(g);
    bool leaves = of == nullptr || of->role == role::draining;
    return !leaves && std::ranges::none_of(left.instances, [&](auto const& i) {
      return i.id.generation == g && instances->has(i.id);
    });
  };
  if (auto opened = listeners->open_missing_slots(left.listeners, needs_slot); !opened) return opened;
  auto found = options.predecessor_died ? commands->find_left_behind(left.state) : result<>();
  return found && (options.predecessor_died || left.strangers) ? find_strangers() : found;
}

void supervisor::parts::begin_anew() {
  write(log_level::info,
        "handoffd " HANDOFF_VERSION " supervises '" + service() + "', pid " + std::to_string(::getpid()));
  post(upgrade_requested{cause::start, {}, {}});
}

void supervisor::parts::go_on() {
  snapshot const& left = *options.left;
  bool died = options.predecessor_died;
  write(log_level::info, "handoffd " HANDOFF_VERSION " goes on with '" + service() + "' as " + left.program +
                             " left it" + (died ? " when it died" : "") + ", pid " +
                             std::to_string(::getpid()));
  tells->adopt(left, died);
  commands->end_left_behind();
  adopted how{died, left.parting, {}};
  for (auto const& i : running_in(left.state))
    if (i.phase == instance_phase::launching && instances->has(i.id)) how.launched.push_back(i.id);
  post(std::move(how));
  for (auto const& i : running_in(left.state))
    if (!instances->has(i.id)) post(exited{i.id, to_string(exit_status{})});
  believe_the_unheard();
  options.inherited = {};  // what nobody took
  part_with_strangers();
  control->end_reexec({});
  ::raise(SIGCHLD);  // what ended meanwhile
  unblock_signals();
}

// An instance of a generation that served before may have said that it is ready to a socket that is gone.
void supervisor::parts::believe_the_unheard() {
  for (auto const& id : instances->unheard()) {
    auto const* of = options.left->state.find(id.generation);
    bool serves = of != nullptr && (of->role == role::live || of->role == role::standby);
    if (serves) post(became_ready{id});
  }
}

// Anybody may write anything into an environment, but not become one of these users, nor enter our cgroup.
bool supervisor::parts::may_be_ours(pid_t pid) const {
  auto const cgroup = find_delegated_cgroup();
  if (cgroup && generation_cgroup::adopt(*cgroup).holds(pid)) return true;
  auto const who = real_user_of(pid);
  if (!who || *who == 0 || *who == ::getuid()) return who.has_value();
  auto const& s = options.first.service;
  auto const configured = resolve_account(s.user, s.group, s.supplementary_groups);
  if (configured && configured->user == *who) return true;
  if (!options.left) return false;
  return std::ranges::any_of(options.left->releases, [&](auto const& r) { return r.identity.user == *who; });
}

// Whoever our predecessor started without living to note it may have clients already. What an instance
// started itself hears of the same socket as the instance.
result<> supervisor::parts::find_strangers() {
  constexpr char const* looking = "looking for who was started and not noted";
  auto known = instances ? instances->pids() : std::vector<pid_t>{};
  known.push_back(::getpid());
  std::string const mark = "NOTIFY_SOCKET=" + directory->notify_directory() + "/";
  auto found =
      find_carriers_of(known, mark, instances ? instances->notify_variables() : std::vector<std::string>{});
  if (!found) return failure(std::move(found.error()).during(looking));
  for (pid_t pid : *found) {
    process stranger(pid, unique_fd(open_pidfd(pid)));
    if (!stranger && errno != ESRCH) return os_failure(looking);
    bool is_still_it = stranger && !rest_of_variable(pid, mark).empty();
    if (is_still_it && may_be_ours(pid)) strangers.push_back(std::move(stranger));
  }
  return {};
}

// Of a predecessor that died and was not to be followed (stopped before the next one stood), or left nothing
// that can be read: they would serve for ever, and may hold what we are about to open.
result<> supervisor::parts::part_with_leftovers() {
  if (options.left) return {};
  if (auto found = find_strangers(); !found) write(log_level::warning, found.error().message());
  part_with_strangers();
  await_strangers();
  part_with_store();
  return {};
}

// As long as they may drain: who listens until then keeps its address from us.
void supervisor::parts::await_strangers() {
  constexpr duration often{5'000};
  instant const deadline = loop::now() + options.first.service.drain.timeout;
  for (auto const& stranger : strangers) {
    pollfd ended{.fd = stranger.pidfd(), .events = POLLIN, .revents = 0};
    while (ended.revents == 0 && loop::now() < deadline) {
      (void)service_manager::extend_timeout(3 * often);
      auto const slice = std::min(often, deadline - loop::now());
      (void)::poll(&ended, 1, static_cast<int>(slice.count()));
    }
    if (ended.revents == 0) (void)stranger.signal(SIGKILL);
  }
}

// Nobody knows any more what these descriptors are, and those that listen would keep their addresses from us.
void supervisor::parts::part_with_store() {
  auto const names = options.inherited.names();
  options.inherited = {};
  if (names.empty() || !service_manager::keeps_descriptors()) return;
  for (auto const& name : names) (void)service_manager::forget(std::string(store_prefix) + name);
  service_manager::catch_up();
}

void supervisor::parts::part_with_strangers() {
  for (auto const& stranger : strangers) {
    write(log_level::warning,
          "process " + std::to_string(stranger.pid()) +
              " was started by our predecessor and belongs to no instance: it is told to end");
    (void)stranger.signal(SIGTERM);
  }
  if (strangers.empty()) return;
  auto deadline = events->at(loop::now() + options.first.service.drain.timeout, [this] {
    for (auto const& stranger : strangers) (void)stranger.signal(SIGKILL);
    strangers.clear();
  });
  if (deadline) strangers_deadline = std::move(*deadline);
}

// ---- what a successor needs to know

snapshot supervisor::parts::describe_now(state const& s, std::vector<fact> const& untold,
                                         manifest& with) const {
  snapshot now{.program = HANDOFF_VERSION,
               .service = service(),
               .configuration = options.configuration,
               .boot = boot_id(),
               .state = s};
  listeners->keep(now.listeners, with);
  releases->keep(now, with);
  instances->keep(now, with);
  tells->keep(now);
  now.strangers = !strangers.empty();
  now.experiment = experiment;
  now.before_experiment = to_kept(before_experiment);
  for (auto const& f : untold)
    if (f.kind == fact_kind::verdict) now.untold.push_back({f.rollout, f.generation, *f.verdict});
  return now;
}

// ---- becoming a successor

// The reply to whoever asks comes when it is over.
std::optional<std::string> supervisor::parts::begin_reexec() {
  if (becoming) return {};
  if (mind->current().lifecycle != lifecycle::running) return "the supervisor is stopping";
  becoming.emplace();
  auto begun = begin_trial();
  if (begun) return {};
  std::string why = begun.error().message();
  end_reexec(why);
  return why;
}

result<> supervisor::parts::begin_trial() {
  becoming->deadline.reset();
  becoming->program = unique_fd(::open(options.program.c_str(), O_PATH | O_CLOEXEC));
  if (!becoming->program) return os_failure("opening " + options.program);
  manifest with;
  auto bytes = encode_snapshot(describe_now(mind->current(), {}, with));
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  auto trial = trial::begin(*events, launcher.get(), becoming->program.get(), options.program, *bytes,
                            [this](result<> outcome) { tried(std::move(outcome)); });
  if (!trial) return std::unexpected(std::move(trial.error()));
  becoming->trial = std::move(*trial);
  return {};
}

void supervisor::parts::tried(result<> outcome) {
  auto over = std::move(becoming->trial);  // to the end of this call, which comes from it
  if (!outcome) return end_reexec(outcome.error().message());
  auto deadline = events->at(loop::now() + longest_wait, [this] {
    end_reexec("there was no moment in " + spell(longest_wait) + " without " + what_is_in_flight());
  });
  if (deadline) becoming->deadline = std::move(*deadline);
}

void supervisor::parts::end_reexec(std::string const& why) {
  becoming.reset();
  write(log_level::error, "goes on as handoffd " HANDOFF_VERSION ": " + why);
  if (control) control->end_reexec(why);
}

// What a snapshot cannot express; empty when there is nothing.
std::string supervisor::parts::what_is_in_flight() const {
  if (!mind->is_idle() || mind->current().preparing) return "a decision in flight";
  if (!instances->is_calm()) return "an instance that is being launched";
  if (!commands->is_calm()) return "a hook, a check, a metric or a probe that runs";
  if (!service_manager::has_sent_all()) return "something that systemd has not read yet";
  return {};
}

void supervisor::parts::watch_for_calm() {
  bool waits = becoming && becoming->program && !becoming->trial && !becoming->now;
  if (!waits) return;
  if (std::string what = what_is_in_flight(); !what.empty()) {
    if (becoming->waits_for.empty())
      write(log_level::info, "becomes the handoffd that is installed when there is a moment, in " +
                                 spell(longest_wait) + " at most, without " + what);
    becoming->waits_for = what;
    return;
  }
  if (is_replaced(becoming->program.get(), options.program)) {
    if (auto begun = begin_trial(); !begun) end_reexec(begun.error().message());
    return;
  }
  becoming->now = true;
  events->stop();
}

// What comes between the last look and exec waits in the kernel: signals because they are blocked, the rest
// because nobody reads it. The last turn may have read something: then there is another look.
void supervisor::parts::become_successor() {
  blocked_signals blocked;
  becoming->now = false;
  events->turn();
  if (!becoming || !becoming->now) return;
  becoming->now = false;
  if (!what_is_in_flight().empty()) return;
  manifest with;
  snapshot last = describe_now(mind->current(), {}, with);
  control->keep(last, with);
  last.lock = with.add("lock", directory->lock_fd());
  last.in_store = memory->known();
  memory->add_to(with);
  last.descriptors = with.all();
  auto bytes = encode_snapshot(last);
  auto memory_of_it = bytes ? put_in_memory(*bytes) : result<unique_fd>(std::unexpected(bytes.error()));
  if (!memory_of_it) return end_reexec(memory_of_it.error().message());
  std::vector<int> passed{memory_of_it->get()};
  for (auto const& [name, fd] : with.all()) passed.push_back(fd);
  std::vector<std::string> environment{std::string(snapshot_variable) + "=" +
                                       std::to_string(memory_of_it->get())};
  for (char** variable = environ; *variable != nullptr; ++variable) environment.emplace_back(*variable);
  end_reexec(become(becoming->program.get(), {options.program, options.configuration}, environment, passed)
                 .message());
}

}  // namespace handoff
