#include "demo_screen.hpp"

#include <poll.h>

#include <csignal>
#include <utility>

namespace handoff::cli {

result<demo_screen> demo_screen::open(bool plain) {
  demo_screen made;
  if (out().draws && !plain) {
    made.session_ = std::make_unique<terminal_session>(out());
    return made;
  }
  auto stop = interruptions::catch_them();
  if (!stop) return std::unexpected(stop.error());
  made.stop_ = std::move(*stop);
  return made;
}

result<> demo_screen::wait(int fd, duration at_most) {
  pollfd fds[] = {{fd, POLLIN, 0},
                  {session_ ? session_->signals() : stop_->fd(), POLLIN, 0},
                  {session_ ? session_->keys() : -1, POLLIN, 0}};
  ::poll(fds, std::size(fds), static_cast<int>(at_most.count()));
  if (was_interrupted()) return plain_failure("interrupted");
  return {};
}

bool demo_screen::was_interrupted() {
  if (!session_) return stop_->come_within(duration::zero());
  bool stopped = false;
  while (auto key = session_->take_key()) stopped = stopped || *key == 'q';
  while (auto signal = session_->take_signal()) {
    if (*signal == SIGWINCH) {
      region_.clear();
    } else if (*signal == SIGTSTP) {
      session_->suspend();
      region_.leave();
    } else {
      stopped = true;
    }
  }
  return stopped;
}

void demo_screen::tell(std::string line) {
  if (!session_) return out().line(line);
  told_.push_back(std::move(line));
}

void demo_screen::show(std::vector<std::string> const& picture) {
  if (!session_) return;
  region_.show(told_, picture);
  told_.clear();
}

void demo_screen::close() {
  show({});
  session_.reset();
}

}  // namespace handoff::cli
