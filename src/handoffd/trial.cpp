#include "trial.hpp"

#include <os/inheritance.hpp>
#include <os/launch.hpp>
#include <wire/launch_spec.hpp>

#include <unistd.h>

namespace handoff {

namespace {

constexpr duration longest_trial{10'000};

launch_spec trial_of(std::string const& path) {
  launch_spec spec;
  spec.arguments = {path, "--try-snapshot", "3"};  // where the launcher puts the first descriptor
  spec.executable_path = path;
  spec.has_executable = spec.by_descriptor = spec.has_output = true;
  spec.listeners = 1;
  return spec;
}

std::string last_line(output_pipe const& output) {
  auto lines = output.tail(1);
  return lines.empty() ? std::string() : ": " + lines.back();
}

}  // namespace

result<std::unique_ptr<trial>> trial::begin(loop& on, int launcher, int program, std::string const& path,
                                            std::string_view snapshot, over over_with) {
  auto memory = put_in_memory(snapshot);
  if (!memory) return std::unexpected(memory.error());
  auto pipe = output_pipe::create(on, ::getuid(), [](std::string const&) {});
  if (!pipe) return std::unexpected(pipe.error());
  auto bytes = encode_launch(trial_of(path));
  if (!bytes) return std::unexpected(bytes.error());
  int const passed = memory->get();
  launch_descriptors descriptors{
      .executable = program, .output = pipe->service_end.get(), .listeners = {&passed, 1}};
  auto started = launch(launcher, *bytes, descriptors);
  if (!started) return std::unexpected(started.error());
  std::unique_ptr<trial> made(new trial(std::move(over_with)));
  made->output_ = std::move(pipe->reader);
  made->child_ = process(started->pid, std::move(started->pidfd));
  made->channel_ = std::move(started->channel);
  auto* raw = made.get();
  auto end = on.on_fd(raw->child_.pidfd(), readiness_of_fd::readable, [raw] { raw->ended(); });
  auto deadline = on.at(loop::now() + longest_trial, [raw] { raw->late(); });
  if (!end || !deadline) {
    (void)made->child_.kill_group();
    return std::unexpected(end ? deadline.error() : end.error());
  }
  made->end_ = std::move(*end);
  made->deadline_ = std::move(*deadline);
  return made;
}

void trial::ended() {
  auto status = child_.reap();
  if (status && !*status) return;
  end_.reset();
  output_->drain_now();
  exit_status how = status ? **status : exit_status{};
  bool good = how.how == exit_status::kind::exited && how.number == 0;
  std::string why;
  if (auto report = read_launch_report(channel_.get()); report && report->progress == launch_progress::failed)
    why = describe_launch_failure(report->stage, report->error_number);
  else if (!good)
    why = to_string(how) + last_line(*output_);
  auto over_with = std::move(over_);
  over_with(why.empty() ? result<>() : plain_failure("the new handoffd fails its trial run: " + why));
}

void trial::late() {
  (void)child_.kill_group();  // reaped as every child is
  end_.reset();
  auto over_with = std::move(over_);
  over_with(plain_failure("the new handoffd does not end its trial run"));
}

}  // namespace handoff
