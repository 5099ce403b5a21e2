// What the demonstrations stand on: child processes, readiness, a directory and a port of their own.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <string>
#include <vector>

namespace handoff::cli {

// The programs of the demonstration, installed or built.
struct demo_programs {
  std::string supervisor;  // handoffd
  std::string launcher;    // handoff-exec
  std::string service;     // handoff-demo-service

  // $HANDOFFD, $HANDOFF_EXEC and $HANDOFF_DEMO_SERVICE, else where they were installed.
  static result<demo_programs> find();
};

// A child of the demonstration; ended and reaped with this.
class demo_child {
 public:
  demo_child() = default;
  demo_child(demo_child&& o) noexcept;
  demo_child& operator=(demo_child o) noexcept;
  ~demo_child() { end(); }

  // With these variables and PATH alone; what it writes is added to the file `log`.
  static result<demo_child> spawn(std::vector<std::string> const& arguments,
                                  std::vector<std::string> const& variables, std::string const& log);

  void signal(int number) const;
  void end();

 private:
  pid_t pid_ = -1;
};

// READY=1, as systemd would receive it: the comparison is fair only when both sides know who is ready.
class ready_socket {
 public:
  static result<ready_socket> open(std::string const& path);
  result<> wait() const;

 private:
  unique_fd fd_;
};

// The directory of one demonstration, removed with it.
class scratch {
 public:
  scratch();
  ~scratch();
  scratch(scratch const&) = delete;
  scratch& operator=(scratch const&) = delete;
  std::string const& path() const { return path_; }  // empty when none could be made

 private:
  std::string path_;
};

// An address of loopback where nobody listens at the moment.
result<std::string> free_address();

}  // namespace handoff::cli
