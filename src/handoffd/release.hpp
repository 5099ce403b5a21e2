// A release: everything that is needed to launch an instance of one generation, frozen when the generation
// was made.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>
#include <os/account.hpp>
#include <os/executable.hpp>
#include <wire/launch_spec.hpp>

#include <handoffd/listener_table.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace handoff {

struct release {
  generation_number number{};
  service_settings service;
  std::vector<named_listener> listeners;
  std::shared_ptr<pinned_executable const> executable;  // shared with the generations made from this one
  std::string executable_name;                          // of its descriptor, for a successor; shared as well
  account identity;
  std::string working_directory;         // symlinks resolved
  std::vector<std::string> environment;  // "KEY=value": what configuration and files said at the time
  std::string variant;                   // of the experiment that it was made for; empty: of none
};

// What the descriptor of an executable is called that was pinned for this generation.
std::string executable_name_for(generation_number);

// Of a release whose executable is lost.
std::string why_lost(release const&);

// Why a release could not be made: the executable is the candidate's fault, all else the configuration's.
struct no_release {
  bool executable_is_bad = false;
  std::string reason;
};

// Looks up users, reads the environment files, resolves symlinks and pins the executable. Without listeners
// yet.
std::expected<release, no_release> make_release(generation_number, service_settings const&);

// What an instance or a command of a release gets beside its own arguments and variables.
struct launch_extras {
  std::vector<std::string> arguments;    // argv; the first is the program
  std::vector<std::string> environment;  // added to the release's
  std::vector<std::string> descriptor_names;
};

// The launch of the service itself: {fd:NAME} replaced, LISTEN_* set.
result<launch_spec> service_launch(release const&, launch_extras const&);

// The launch of a hook, check or probe: the same surroundings without sockets and limits on privileges.
launch_spec command_launch(release const&, account const&, launch_extras const&);

}  // namespace handoff
