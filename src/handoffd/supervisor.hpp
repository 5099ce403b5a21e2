// One service's supervisor: all the parts, wired.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>
#include <os/inheritance.hpp>
#include <wire/snapshot.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

struct supervisor_options {
  std::string program;                   // path of handoffd itself
  std::string configuration;             // absolute path
  std::string launcher;                  // handoff-exec
  std::string probe;                     // handoff-probe
  settings first;                        // what the configuration says at the start
  std::vector<named_descriptor> passed;  // by systemd
  std::optional<snapshot> left;          // by a predecessor, in whose place we go on
  inherited_descriptors inherited;
  bool predecessor_died = false;  // without passing all that is in flight
  // Called where create() fails, while all that was taken over is still open and in its place.
  std::function<void(error const&)> stumbled = [](error const&) {};
};

class supervisor {
 public:
  // Takes the lock, opens the listeners and the control socket, or takes them over. Nothing is launched yet.
  static result<std::unique_ptr<supervisor>> create(supervisor_options);
  ~supervisor();

  void run();  // until the service was stopped

 private:
  struct parts;
  explicit supervisor(std::unique_ptr<parts>);
  std::unique_ptr<parts> parts_;
};

}  // namespace handoff
