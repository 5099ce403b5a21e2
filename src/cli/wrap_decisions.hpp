// What becomes of each line of a unit when its service is put under handoffd, and why. Pure: from what was
// found out to a configuration and a drop-in.
#pragma once

#include <core/settings.hpp>

#include <cli/wrap_recipes.hpp>
#include <cli/wrap_unit.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace handoff::cli {

enum class fate {
  carried,  // into the configuration
  kept,     // in the unit: handoffd has it, and what it starts inherits it
  changed,  // by the drop-in
  dropped,
  refused  // the service cannot be wrapped with it
};
std::string_view to_string(fate);

struct decision {
  fate what = fate::kept;
  std::string directive, value;
  std::string why;
};

// What whoever asks wants.
struct wish {
  std::string name;                          // of the service; empty: the unit's
  std::vector<listener_settings> listeners;  // those without a name get one; none: those that were found
  command_line arguments;                    // behind the others
  variables environment;
  bool listen_fds = false;  // the service takes its sockets as from systemd
};

// All that is known of a service.
struct surroundings {
  unit_facts unit;
  std::string login_group;                                                  // of its user; empty: unknown
  variables from_files;                                                     // of its EnvironmentFile=
  std::vector<listener_settings> listeners;                                 // its own; without names
  std::vector<listener_settings> socket_listeners;                          // of its socket units
  std::function<std::optional<std::string>(std::string const& path)> file;  // a configuration of the service
};

struct wrapping {
  std::string unit;
  std::vector<decision> decisions;
  std::vector<std::string> notes;
  settings configuration;
  std::vector<std::string> lines;  // of the drop-in, beside those that each has
  bool secret = false;             // the configuration has what an EnvironmentFile= said

  bool possible() const;
};

wrapping wrap(surroundings const&, wish const&);

// ---- the parts

// A wrapping in the making.
class wrapper {
 public:
  wrapper(surroundings const& of, wish const& wanted);
  wrapping finish() &&;

  // wrap_service.cpp: what runs, and its sockets
  void refuse_what_cannot_be();
  void take_listeners();
  void take_command();

  // wrap_directives.cpp: what it runs with
  void take_identity();
  void take_environment();
  void take_directories();
  void take_commands_around();
  void take_times();
  void take_restarts();
  void open_sandbox();
  void keep_the_rest();

 private:
  // About a directive that somebody wrote; nothing when nobody did.
  void tell(fate, std::string const& directive, std::string why);
  void say(fate, std::string const& directive, std::string value, std::string why);
  void note(std::string text);  // once
  std::string written_value(std::string const& directive) const;
  bool is_on(std::string const& directive) const;
  bool is_told(std::string const& directive) const;
  command_line expanded(unit_command const&);
  void pass_sockets(command_line& words);
  void check_file_of_recipe(command_line const& words);
  void take_readiness();
  void give_directories();  // to another user than root
  void take_hook(hook at, std::string const& directive, std::vector<unit_command> const& commands);

  unit_facts const& unit_;
  surroundings const& of_;
  wish const& wanted_;
  recipe const* recipe_ = nullptr;
  wrapping made_;
  service_settings& service_ = made_.configuration.service;
};

}  // namespace handoff::cli
