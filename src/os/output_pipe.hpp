// What one instance writes to its standard output and error: lines for the log, and the last of it for the
// verdict.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/loop.hpp>

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// What was read already: the beginning of a line, and what is kept for the verdict.
struct output_memory {
  std::string partial;
  std::string kept;
  bool kept_is_cut = false;
};

class output_pipe {
 public:
  // Printable bytes. What a line has beyond them is left out.
  static constexpr std::size_t longest_line = 1024;
  static constexpr std::size_t kept_for_verdict = 8192;  // bytes

  // Is given each line: printable, bounded, without its end. Must not destroy the pipe.
  using line_receiver = std::function<void(std::string line)>;

  struct ends;

  // A new pipe. Its service end belongs to `owner`, so that a service under another user can open
  // /dev/stdout.
  static result<ends> create(loop& on, uid_t owner, line_receiver line);

  // Goes on reading a pipe whose read end came from a predecessor.
  static result<std::unique_ptr<output_pipe>> adopt(loop& on, unique_fd read_end, line_receiver line,
                                                    output_memory = {});
  // Of what is kept, at most the last `most` bytes.
  output_memory remembered(std::size_t most = kept_for_verdict) const;

  ~output_pipe();
  output_pipe(output_pipe const&) = delete;
  output_pipe& operator=(output_pipe const&) = delete;

  int fd() const { return read_end_.get(); }

  // Reads what is there after the instance exited, without waiting for other writers, and gives out a last
  // line that has no end. Bounded: a descendant that goes on writing cannot hold us.
  void drain_now();

  // The last lines, oldest first, at most `most`; each printable and bounded. A first line that was cut by
  // the bound of what is kept is left out.
  std::vector<std::string> tail(std::size_t most) const { return tail_of(kept_, kept_is_cut_, most); }
  // Likewise, of what another one remembered.
  static std::vector<std::string> tail_of(std::string_view kept, bool is_cut, std::size_t most);

  std::uint64_t lines() const { return lines_; }  // how many were given out

 private:
  enum class reading { more, waits, ended };

  output_pipe(unique_fd read_end, line_receiver line)
      : read_end_(std::move(read_end)), line_(std::move(line)) {}
  result<> start(loop& on);
  void readable();
  reading read_up_to(std::size_t most);
  void take(std::string_view bytes);
  void keep(std::string_view bytes);
  void finish_line();

  unique_fd read_end_;
  line_receiver line_;
  std::string partial_;  // the line that has no end yet, at most a little more than longest_line
  bool has_partial_ = false;
  std::string kept_;  // the last bytes, at most twice kept_for_verdict between two reads
  bool kept_is_cut_ = false;
  std::uint64_t lines_ = 0;
  watch watch_;
};

struct output_pipe::ends {
  std::unique_ptr<output_pipe> reader;
  // Opened for reading and writing, so that the service does not die of SIGPIPE when we are gone.
  unique_fd service_end;
};

}  // namespace handoff
