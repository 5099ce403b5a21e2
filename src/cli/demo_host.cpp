#include "demo_host.hpp"

#include <cli/demo_supervisor.hpp>
#include <cli/told.hpp>

#include <optional>
#include <utility>

namespace handoff::cli {

namespace {

// ---- naive

class naive_host final : public demo_host {
 public:
  naive_host(demo_programs const& programs, std::string directory, std::string address)
      : programs_(programs), directory_(std::move(directory)), address_(std::move(address)) {}

  result<> start() override { return upgrade(1); }

  result<> upgrade(unsigned version) override {
    std::string path = directory_ + "/ready";
    auto ready = ready_socket::open(path);
    if (!ready) return std::unexpected(ready.error());
    service_.end();
    auto started =
        demo_child::spawn({programs_.service, "--version", std::to_string(version), "--bind", address_},
                          {"NOTIFY_SOCKET=" + path}, directory_ + "/naive.log");
    if (!started) return std::unexpected(started.error());
    service_ = std::move(*started);
    return ready->wait();
  }

 private:
  demo_programs programs_;
  std::string directory_, address_;
  demo_child service_;
};

// ---- ours

class handoff_host final : public demo_host {
 public:
  handoff_host(demo_programs const& programs, std::string directory, std::string address)
      : programs_(programs), directory_(std::move(directory)), address_(std::move(address)) {}

  result<> start() override {
    auto started = demo_supervisor::start(programs_, directory_, configuration(1));
    if (!started) return std::unexpected(started.error());
    supervisor_ = std::move(*started);
    return {};
  }

  result<> upgrade(unsigned version) override {
    if (auto asked = supervisor_->upgrade(configuration(version)); !asked) return asked;
    for (;;) {
      auto event = supervisor_->next_event(demo_patience);
      if (!event) return std::unexpected(event.error());
      auto kind = raw_text(*event, "kind");
      if (kind == "verdict" && raw_text(*event, "verdict") != "promoted")
        return plain_failure("version " + std::to_string(version) + ": " + text(*event, "text"));
      if (kind == "settled") return {};
    }
  }

 private:
  std::string configuration(unsigned version) const {
    return "[service]\nname = \"demo\"\ncommand = [\"" + programs_.service + "\", \"--version\", \"" +
           std::to_string(version) + "\"]\n[[listener]]\nname = \"http\"\naddress = \"" + address_ + "\"\n";
  }

  demo_programs programs_;
  std::string directory_, address_;
  std::optional<demo_supervisor> supervisor_;
};

}  // namespace

std::unique_ptr<demo_host> naive_restarts(demo_programs const& programs, std::string directory,
                                          std::string address) {
  return std::make_unique<naive_host>(programs, std::move(directory), std::move(address));
}

std::unique_ptr<demo_host> under_handoffd(demo_programs const& programs, std::string directory,
                                          std::string address) {
  return std::make_unique<handoff_host>(programs, std::move(directory), std::move(address));
}

}  // namespace handoff::cli
