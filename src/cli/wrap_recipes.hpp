// How the services that `handoff wrap` knows take sockets from somebody else: a table. docs/recipes.md tells
// the same for people.
#pragma once

#include <core/settings.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

// How a service is told its descriptors.
enum class passing {
  listen_fds,     // as systemd does
  one_variable,   // all in one variable, each with a ';' behind it
  variable_each,  // a variable for each listener: HTTP_FD
  option          // an option with the number of the only one
};

struct recipe {
  std::string_view program;  // the name of its file, or of the module that an interpreter runs
  passing how = passing::listen_fds;
  std::string_view key;  // the variable or the option

  // Changes of the command line. What would put it into the background, or open the sockets again, is
  // removed.
  std::vector<std::string_view> removed;
  std::vector<std::string_view> removed_with_value;
  std::vector<std::string_view> required;
  // An option whose value has to say something: "-g", in place of "daemon on;" to have "daemon off;".
  std::string_view said_with, unsaid, said;

  // A file that this option names has to contain the word, and if it does not, what to write there.
  std::string_view file_option, file_word, file_advice;

  bool non_blocking = false;       // it counts on O_NONBLOCK and does not set it
  bool unix_sockets = true;        // whether its Unix sockets are for clients, and not for its own control
  std::optional<readiness> ready;  // none: as Type= says
  command_line ready_command;      // readiness::exec
  int drain_signal = 0;            // 0: as KillSignal= says
  duration drain{0};               // that its clients may take at least
  std::string_view note;
};

std::span<recipe const> recipes();

// The recipe for what a command line runs; null when it is none that is known.
recipe const* find_recipe(std::span<std::string const> words);

// The command line with the changes of the recipe, except for how it is told its sockets.
command_line in_foreground(recipe const&, command_line words);

}  // namespace handoff::cli
