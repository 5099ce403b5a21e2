// A handoffd of a demonstration's own, watched from its start; it ends with this.
#pragma once

#include <cli/connection.hpp>
#include <cli/demo_process.hpp>
#include <cli/supervisors.hpp>

#include <optional>
#include <string>

namespace handoff::cli {

// A demonstration waits as long for whatever is not its subject.
constexpr duration demo_patience{10'000};

class demo_supervisor {
 public:
  // Starts it in `directory` for the service "demo" with this configuration; returns when version 1 serves.
  static result<demo_supervisor> start(demo_programs const&, std::string directory,
                                       std::string const& configuration);

  // Replaces the configuration and asks for an upgrade; the events tell what becomes of it.
  result<> upgrade(std::string const& configuration);

  // What is told from then on. The connection that events come on is there to be waited for, too.
  result<json> next_event(duration patience);
  result<std::optional<json>> event_if_there();
  int events_fd() const { return events_->fd(); }

  result<json> status() const;

 private:
  explicit demo_supervisor(std::string directory) : directory_(std::move(directory)) {}
  supervisor address() const { return {"demo", directory_ + "/demo.sock"}; }
  result<> configure(std::string const& configuration) const;

  std::string directory_;
  demo_child process_;
  std::optional<connection> events_;
};

}  // namespace handoff::cli
