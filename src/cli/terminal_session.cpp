#include "terminal_session.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace handoff::cli {

namespace {

constexpr char const* hide_cursor = "\x1B[?25l";
constexpr char const* show_cursor = "\x1B[?25h";

sigset_t set_of(std::initializer_list<int> numbers) {
  sigset_t all;
  ::sigemptyset(&all);
  for (int number : numbers) ::sigaddset(&all, number);
  return all;
}

sigset_t caught() { return set_of({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH}); }

// Changing a terminal from the background would stop us (tcsetattr(3), SIGTTOU).
bool is_ours(int terminal) {
  if (::isatty(terminal) != 1) return false;
  pid_t foreground = ::tcgetpgrp(terminal);
  return foreground < 0 || foreground == ::getpgrp();
}

// Lets `signal` do what it does by default.
void suffer(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t one = set_of({signal});
  ::raise(signal);
  ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
}

}  // namespace

terminal_session::terminal_session(stream const& shown) : shown_(shown), keyboard_(STDIN_FILENO) {
  sigset_t all = caught();
  signals_ = unique_fd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (signals_) ::sigprocmask(SIG_BLOCK, &all, nullptr);
  take_over();
}

terminal_session::~terminal_session() { put_back(); }

void terminal_session::take_over() {
  termios as_it_was;
  if (is_ours(keyboard_) && ::tcgetattr(keyboard_, &as_it_was) == 0) {
    termios keys = as_it_was;
    keys.c_lflag &= ~tcflag_t(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    // What was typed before there was anything to see was not meant for us.
    if (::tcsetattr(keyboard_, TCSAFLUSH, &keys) == 0) saved_ = as_it_was;
  }
  shown_.write(hide_cursor);
}

void terminal_session::put_back() {
  if (saved_) ::tcsetattr(keyboard_, TCSANOW, &*saved_);
  saved_.reset();
  shown_.write(show_cursor);
}

std::optional<int> terminal_session::take_signal() {
  signalfd_siginfo told;
  if (::read(signals_.get(), &told, sizeof told) != sizeof told) return std::nullopt;
  return static_cast<int>(told.ssi_signo);
}

std::optional<char> terminal_session::take_key() {
  pollfd ready{.fd = keys(), .events = POLLIN, .revents = 0};
  if (ready.fd < 0 || ::poll(&ready, 1, 0) <= 0) return std::nullopt;
  char key = 0;
  if (::read(keyboard_, &key, 1) == 1) return key;
  keyboard_ = -1;  // it hung up
  saved_.reset();
  return std::nullopt;
}

void terminal_session::suspend() {
  put_back();
  suffer(SIGTSTP);
  sigset_t all = caught();
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  take_over();
}

void die_of(int signal) {
  suffer(signal);
  ::_exit(128 + signal);
}

}  // namespace handoff::cli
