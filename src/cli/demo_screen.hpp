// Where a demonstration is told, line by line: on a terminal with a picture below that is drawn again and
// again, elsewhere lines alone. Interruptions are noticed here.
#pragma once

#include <cli/connection.hpp>
#include <cli/live_region.hpp>
#include <cli/terminal_session.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace handoff::cli {

class demo_screen {
 public:
  // Pictures are drawn where the terminal can, unless `plain`. Must stand before any thread is started: from
  // here on signals wait to be asked for.
  static result<demo_screen> open(bool plain);

  bool draws() const { return session_ != nullptr; }

  // Waits until `fd` has something to read, but not longer than that. Fails when somebody interrupts.
  result<> wait(int fd, duration at_most);

  // A line that stays.
  void tell(std::string line);
  // Lines that the next picture replaces; nothing where nothing is drawn.
  void show(std::vector<std::string> const& picture);
  // The terminal is put back, without a picture.
  void close();

 private:
  demo_screen() = default;
  bool was_interrupted();

  std::optional<interruptions> stop_;          // without a picture
  std::unique_ptr<terminal_session> session_;  // with one
  live_region region_{out()};
  std::vector<std::string> told_;  // not shown yet
};

}  // namespace handoff::cli
