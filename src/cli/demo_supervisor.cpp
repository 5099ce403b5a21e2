#include "demo_supervisor.hpp"

#include <csignal>
#include <fstream>

namespace handoff::cli {

result<demo_supervisor> demo_supervisor::start(demo_programs const& programs, std::string directory,
                                               std::string const& configuration) {
  demo_supervisor made(std::move(directory));
  if (auto written = made.configure(configuration); !written) return std::unexpected(written.error());
  std::string const& place = made.directory_;
  std::string notify = place + "/supervisor-ready";
  auto ready = ready_socket::open(notify);
  if (!ready) return std::unexpected(ready.error());
  auto started = demo_child::spawn({programs.supervisor, place + "/demo.toml"},
                                   {"HANDOFF_RUNTIME_DIR=" + place, "HANDOFF_STATE_DIR=" + place,
                                    "HANDOFF_EXEC=" + programs.launcher, "NOTIFY_SOCKET=" + notify},
                                   place + "/handoffd.log");
  if (!started) return std::unexpected(started.error());
  made.process_ = std::move(*started);
  if (auto up = ready->wait(); !up) return failure(std::move(up.error()).during("handoffd"));
  auto watching = begin_watch(made.address(), deadline_after(demo_patience));
  if (!watching) return plain_failure(watching.error().what);
  made.events_ = std::move(*watching);
  return made;
}

result<> demo_supervisor::configure(std::string const& configuration) const {
  std::ofstream file(directory_ + "/demo.toml");
  file << configuration;
  file.close();
  if (!file) return plain_failure("writing " + directory_ + "/demo.toml");
  return {};
}

result<> demo_supervisor::upgrade(std::string const& configuration) {
  if (auto written = configure(configuration); !written) return written;
  process_.signal(SIGHUP);
  return {};
}

result<json> demo_supervisor::next_event(duration patience) {
  auto reply = events_->receive(deadline_after(patience));
  if (!reply) return failure(std::move(reply.error()).during("waiting for the verdict"));
  return member(reply->parameters, "event");
}

result<std::optional<json>> demo_supervisor::event_if_there() {
  auto reply = events_->receive_if_there();
  if (!reply) return failure(std::move(reply.error()).during("waiting for the verdict"));
  if (!*reply) return std::nullopt;
  return member((*reply)->parameters, "event");
}

result<json> demo_supervisor::status() const {
  auto told = ask(address(), "Status");
  if (!told) return plain_failure(told.error().what);
  return std::move(*told);
}

}  // namespace handoff::cli
