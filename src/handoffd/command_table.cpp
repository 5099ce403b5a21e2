#include "command_table.hpp"

#include <os/launch.hpp>

#include <unistd.h>

#include <locale>
#include <sstream>

namespace handoff {

struct command_table::running {
  process child;
  unique_fd channel;
  std::unique_ptr<output_pipe> output;
  std::optional<std::string> launch_failure;
  watch channel_watch, process_watch;
};

namespace {

bool succeeded(exit_status const& status) {
  return status.how == exit_status::kind::exited && status.number == 0;
}

// "exited 1: the last line it wrote".
std::string describe_failure(exit_status const& status, output_pipe const& output) {
  auto last = output.tail(1);
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

}  // namespace

command_table::command_table(surroundings const& around, describe d)
    : around_(around), describe_(std::move(d)) {}
command_table::~command_table() = default;

void command_table::run(command const& c) {
  if (auto started = start(c); !started)
    around_.post(command_finished{c.number, started.error().message(), {}});
}

result<> command_table::start(command const& c) {
  auto what = describe_(c);
  if (!what) return std::unexpected(what.error());
  account who = what->of->identity;
  if (!what->user.empty()) {
    auto named = resolve_account(what->user, {}, {});
    if (!named) return std::unexpected(named.error());
    who = std::move(*named);
  }
  auto r = std::make_unique<running>();
  auto level = c.what == command::purpose::metric ? log_level::debug : log_level::info;
  auto pipe = output_pipe::create(
      around_.events, who.user.value_or(::getuid()),
      [this, level, name = what->command[0]](std::string line) { around_.log(level, name + ": " + line); });
  if (!pipe) return std::unexpected(pipe.error());
  r->output = std::move(pipe->reader);
  launch_spec spec = command_launch(*what->of, who, {what->command, what->environment, {}});
  spec.has_output = true;
  auto bytes = encode_launch(spec);
  if (!bytes) return std::unexpected(bytes.error());
  auto started = launch(around_.launcher, *bytes, {.output = pipe->service_end.get(), .listeners = {}});
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
  if (!trouble && !succeeded(how)) trouble = describe_failure(how, *r.output);
  auto numbers = numbers_of(*r.output);
  running_.erase(n);
  around_.post(command_finished{n, std::move(trouble), std::move(numbers)});
}

// Killed with its group; the general reaper collects it, since nobody wants to know any more.
void command_table::cancel(command_number n) {
  auto found = running_.find(n);
  if (found == running_.end()) return;
  (void)found->second->child.kill_group();
  running_.erase(found);
}

std::vector<pid_t> command_table::pids() const {
  std::vector<pid_t> all;
  for (auto const& [n, r] : running_) all.push_back(r->child.pid());
  return all;
}

}  // namespace handoff
