// The terminal while a live view has it: keys come one by one and unseen, the cursor is hidden, signals wait
// to be asked for; and all is put back however the view ends.
#pragma once

#include <base/unique_fd.hpp>

#include <cli/terminal.hpp>
#include <termios.h>

#include <optional>

namespace handoff::cli {

class terminal_session {
 public:
  explicit terminal_session(stream const& shown);
  ~terminal_session();
  terminal_session(terminal_session const&) = delete;
  terminal_session& operator=(terminal_session const&) = delete;

  // Descriptors to wait on; -1: nothing will come. Keys are read while standard input is our terminal and we
  // are not in the background.
  int signals() const { return signals_.get(); }
  int keys() const { return saved_ ? keyboard_ : -1; }

  // One that came; nothing when there is none.
  std::optional<int> take_signal();
  std::optional<char> take_key();

  // Stops as the shell's ^Z asks to, with the terminal put back, and returns when continued.
  void suspend();

 private:
  void take_over();
  void put_back();

  stream const& shown_;
  unique_fd signals_;
  int keyboard_ = 0;
  std::optional<termios> saved_;  // while keys are read
};

// Ends this process by `signal` as if it had never been caught, so that whoever waits for us sees why.
[[noreturn]] void die_of(int signal);

}  // namespace handoff::cli
