// One service's supervisor: all the parts, wired.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <memory>
#include <string>

namespace handoff {

struct supervisor_options {
  std::string configuration;  // absolute path
  std::string launcher;       // handoff-exec
  std::string probe;          // handoff-probe
  settings first;             // what the configuration says at the start
};

class supervisor {
 public:
  // Takes the lock, opens the listeners and the control socket. Nothing is launched yet.
  static result<std::unique_ptr<supervisor>> create(supervisor_options);
  ~supervisor();

  void run();  // until the service was stopped

 private:
  struct parts;
  explicit supervisor(std::unique_ptr<parts>);
  std::unique_ptr<parts> parts_;
};

}  // namespace handoff
