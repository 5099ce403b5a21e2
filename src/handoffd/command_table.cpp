#include "command_table.hpp"

#include <os/steered_listener.hpp>

#include <handoffd/probe_command.hpp>
#include <unistd.h>

#include <algorithm>
#include <locale>
#include <sstream>
#include <utility>

namespace handoff {

struct command_table::running {
  explicit running(listener_table& l) : listeners(l) {}
  ~running() { leave_way(); }
  running(running const&) = delete;
  running& operator=(running const&) = delete;

  // False when a probe may have come to another generation than the one that it was for.
  bool leave_way() {
    bool reached = !way || listeners.close_probe(*way);
    way.reset();
    return reached;
  }

  listener_table& listeners;
  std::string mark;
  process child;
  unique_fd channel;
  std::unique_ptr<output_pipe> output;
  std::optional<listener_table::probe_way> way;  // a probe's
  std::optional<std::string> launch_failure;
  watch channel_watch, process_watch;
};

namespace {

// Each has a rule in the steering program; many instances may become ready at once.
constexpr std::size_t most_probes_at_once = 16;
static_assert(most_probes_at_once <= most_probes);

bool succeeded(exit_status const& status) {
  return status.how == exit_status::kind::exited && status.number == 0;
}

// "exited 1: the last line it wrote"; of a probe that line alone.
std::string describe_failure(exit_status const& status, output_pipe const& output, bool is_probe) {
  auto last = output.tail(1);
  bool says_why = is_probe && status.how == exit_status::kind::exited && status.number == 1;
  if (says_why && !last.empty()) return last.back();
  return last.empty() ? to_string(status) : to_string(status) + ": " + last.back();
}

// The numbers of the last line it wrote, up to what is no number.
std::vector<double> numbers_of(output_pipe const& output) {
  constexpr std::size_t most = 1000;
  std::vector<double> numbers;
  auto last = output.tail(1);
  if (last.empty()) return numbers;
  std::istringstream words(last.back());
  words.imbue(std::locale::classic());
  for (double number = 0; numbers.size() < most && words >> number;) numbers.push_back(number);
  return numbers;
}

result<std::size_t> find_listener(release const& of, std::string const& name) {
  auto named = std::ranges::find(of.listeners, name, &named_listener::name);
  if (named == of.listeners.end()) return plain_failure("this generation has no listener '" + name + "'");
  return named->listener;
}

}  // namespace

command_table::command_table(surroundings const& around, listener_table& listeners, std::string const& helper,
                             describe d)
    : around_(around),
      listeners_(listeners),
      helper_(pinned_executable::open(helper)),
      describe_(std::move(d)) {}
command_table::~command_table() = default;

// ---- starting

void command_table::run(command const& c) {
  auto what = describe_(c);
  if (what && what->probe && probes() >= most_probes_at_once) return waiting_.push_back(c);
  if (what && what->steering) {
    auto counted = count(c, *what);
    if (!counted) return around_.post(command_finished{c.number, counted.error().message(), {}});
    return around_.post(command_finished{c.number, {}, std::move(*counted)});
  }
  auto started = what ? start(c, *what) : result<>(std::unexpected(what.error()));
  if (!started) around_.post(command_finished{c.number, started.error().message(), {}});
}

std::size_t command_table::probes() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(running_, [](auto const& r) { return r.second->way.has_value(); }));
}

void command_table::start_waiting() {
  while (!waiting_.empty() && probes() < most_probes_at_once) {
    command next = waiting_.front();
    waiting_.pop_front();
    run(next);
  }
}

result<std::vector<double>> command_table::count(command const& c, description const& what) const {
  std::optional<std::size_t> listener;
  if (!what.listener.empty()) {
    auto named = find_listener(*what.of, what.listener);
    if (!named) return std::unexpected(named.error());
    listener = *named;
  }
  auto counted = listeners_.counted(*what.steering, c.generation, listener);
  if (!counted)
    return plain_failure("this generation has no slot where " + std::string(to_string(*what.steering)) +
                         " are counted");
  return std::vector{static_cast<double>(*counted)};
}

result<account> command_table::runs_as(description const& what) {
  if (!what.user.empty()) return resolve_account(what.user, {}, {});
  account const& who = what.of->identity;
  if (!what.probe || who.user.value_or(::geteuid()) != 0) return who;
  if (!instead_of_root_) instead_of_root_ = instead_of_root();
  return *instead_of_root_;
}

result<> command_table::start(command const& c, description const& what) {
  auto who = runs_as(what);
  if (!who) return std::unexpected(who.error());
  auto r = std::make_unique<running>(listeners_);
  r->mark = mark_of_commands(around_) + std::to_string(number(c.rollout)) + "." +
            std::to_string(std::to_underlying(c.number));
  if (what.probe)
    if (auto opened = open_way(*r, c, what); !opened) return opened;
  command_line line = r->way ? probe_command(*what.probe, r->way->near.target) : what.command;
  // The last words of a probe or a metric are its verdict; told again and again they would be noise.
  bool repeats = r->way || c.what == command::purpose::metric;
  auto level = repeats ? log_level::debug : log_level::info;
  auto pipe = output_pipe::create(
      around_.events, r->way ? ::getuid() : who->user.value_or(::getuid()),
      [this, level, name = line[0]](std::string said) { around_.log(level, name + ": " + said); });
  if (!pipe) return std::unexpected(pipe.error());
  r->output = std::move(pipe->reader);
  auto started =
      launch_with(*r, command_launch(*what.of, *who, {line, what.environment, {}}), pipe->service_end.get());
  if (!started) return std::unexpected(started.error());
  r->child = process(started->pid, std::move(started->pidfd));
  r->channel = std::move(started->channel);
  if (auto watched = watch_over(*r, c.number); !watched) {
    (void)r->child.kill_group();  // the general reaper collects it
    return watched;
  }
  running_.emplace(c.number, std::move(r));
  return {};
}

result<> command_table::open_way(running& r, command const& c, description const& what) {
  if (!helper_) return std::unexpected(error(helper_.error()).during("handoff-probe"));
  auto named = find_listener(*what.of, what.probe->listener);
  if (!named) return std::unexpected(named.error());
  auto way = listeners_.open_probe(*named, c.generation);
  if (!way) return std::unexpected(std::move(way.error()));
  r.way = std::move(*way);
  return {};
}

// A probe gets its socket, and nothing of the service's surroundings: its libraries would obey the
// environment, and what leads to a directory or to our own program may be closed to who is not root.
result<launched_process> command_table::launch_with(running const& r, launch_spec spec, int output) const {
  launch_descriptors descriptors{.output = output, .listeners = {}};
  spec.has_output = true;
  int const socket = r.way ? r.way->near.fd.get() : -1;
  if (r.way) {
    spec.environment.clear();
    spec.working_directory = "/";
    spec.no_new_privileges = true;
    spec.executable_path = helper_->path();
    spec.has_executable = spec.by_descriptor = true;
    spec.listeners = 1;
    descriptors.executable = helper_->descriptor();
    descriptors.listeners = {&socket, 1};
  }
  spec.environment.push_back(r.mark);
  auto bytes = encode_launch(spec);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  return launch(around_.launcher, *bytes, descriptors);
}

result<> command_table::watch_over(running& r, command_number n) {
  auto reported =
      around_.events.on_fd(r.channel.get(), readiness_of_fd::readable, [this, n] { read_report(n); });
  if (!reported) return std::unexpected(reported.error());
  r.channel_watch = std::move(*reported);
  auto watched = around_.events.on_fd(r.child.pidfd(), readiness_of_fd::readable, [this, n] { ended(n); });
  if (!watched) return std::unexpected(watched.error());
  r.process_watch = std::move(*watched);
  return {};
}

void command_table::read_report(command_number n) {
  auto found = running_.find(n);
  if (found == running_.end()) return;
  running& r = *found->second;
  auto report = read_launch_report(r.channel.get());
  if (report && report->progress == launch_progress::running) return;
  if (report && report->progress == launch_progress::failed)
    r.launch_failure = describe_launch_failure(report->stage, report->error_number);
  r.channel_watch.reset();
  r.channel.reset();
}

void command_table::ended(command_number n) {
  auto found = running_.find(n);
  if (found == running_.end()) return;
  running& r = *found->second;
  if (r.channel) read_report(n);
  auto peeked = r.child.peek();
  if (peeked && !*peeked) return;
  (void)r.child.kill_group();  // what it left in the background ends with it
  r.output->drain_now();
  auto status = r.child.reap();
  exit_status how = status && *status ? **status : exit_status{};
  std::optional<std::string> trouble = r.launch_failure;
  if (!trouble && !succeeded(how)) trouble = describe_failure(how, *r.output, r.way.has_value());
  if (!r.leave_way() && !trouble) trouble = "the service shut its listener meanwhile";
  auto numbers = numbers_of(*r.output);
  running_.erase(n);
  around_.post(command_finished{n, std::move(trouble), std::move(numbers)});
  start_waiting();
}

// Killed with its group; the general reaper collects it, since nobody wants to know any more.
void command_table::cancel(command_number n) {
  std::erase_if(waiting_, [&](command const& c) { return c.number == n; });
  auto found = running_.find(n);
  if (found == running_.end()) return;
  (void)found->second->child.kill_group();
  running_.erase(found);
  start_waiting();
}

std::vector<pid_t> command_table::pids() const {
  std::vector<pid_t> all;
  for (auto const& [n, r] : running_) all.push_back(r->child.pid());
  return all;
}

}  // namespace handoff
