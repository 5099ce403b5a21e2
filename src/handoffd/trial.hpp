// A trial run of another handoffd: whether it can go on from a snapshot of ours.
#pragma once

#include <base/error.hpp>
#include <os/loop.hpp>
#include <os/output_pipe.hpp>
#include <os/process.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace handoff {

class trial {
 public:
  using over = std::function<void(result<>)>;  // may destroy the trial

  // Runs `program` (open, found at `path`) by way of the launcher. Whatever it does, it is over in some
  // seconds.
  static result<std::unique_ptr<trial>> begin(loop&, int launcher, int program, std::string const& path,
                                              std::string_view snapshot, over);
  pid_t pid() const { return child_.pid(); }

 private:
  explicit trial(over o) : over_(std::move(o)) {}
  void ended();
  void late();

  over over_;
  process child_;
  unique_fd channel_;
  std::unique_ptr<output_pipe> output_;
  watch end_, deadline_;
};

}  // namespace handoff
