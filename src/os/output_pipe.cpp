#include "output_pipe.hpp"

#include <base/text.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace handoff {

namespace {

constexpr std::size_t bytes_a_wakeup = 64 * 1024;
constexpr std::size_t bytes_at_the_end = 1024 * 1024;  // the largest pipe of an unprivileged user, pipe(7)
constexpr std::size_t bytes_a_read = 16 * 1024;

}  // namespace

result<output_pipe::ends> output_pipe::create(loop& on, uid_t owner, line_receiver line) {
  int raw[2];
  if (::pipe2(raw, O_CLOEXEC) < 0) return os_failure("creating an output pipe");
  unique_fd read_end(raw[0]);
  unique_fd write_end(raw[1]);
  std::string path = "/proc/self/fd/" + std::to_string(write_end.get());
  unique_fd service_end(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!service_end) return os_failure("opening an output pipe for the service");
  if (owner != ::geteuid() && ::fchown(service_end.get(), owner, static_cast<gid_t>(-1)) < 0) {
    return os_failure("giving an output pipe its owner");
  }
  auto reader = adopt(on, std::move(read_end), std::move(line));
  if (!reader) return std::unexpected(std::move(reader).error());
  return ends{std::move(*reader), std::move(service_end)};
}

result<std::unique_ptr<output_pipe>> output_pipe::adopt(loop& on, unique_fd read_end, line_receiver line,
                                                        output_memory before) {
  std::unique_ptr<output_pipe> made(new output_pipe(std::move(read_end), std::move(line)));
  made->has_partial_ = !before.partial.empty();
  made->partial_ = std::move(before.partial);
  made->kept_is_cut_ = before.kept_is_cut;
  made->kept_ = std::move(before.kept);
  if (auto started = made->start(on); !started) return std::unexpected(std::move(started).error());
  return made;
}

output_pipe::~output_pipe() = default;

result<> output_pipe::start(loop& on) {
  // The loop makes it non-blocking; the service's end is another open file and keeps its flags.
  auto watching = on.on_fd(fd(), readiness_of_fd::readable, [this] { readable(); });
  if (!watching) return std::unexpected(std::move(watching).error().during("reading an output pipe"));
  watch_ = std::move(*watching);
  return {};
}

void output_pipe::readable() {
  if (read_up_to(bytes_a_wakeup) != reading::ended) return;
  watch_.reset();
  finish_line();
}

void output_pipe::drain_now() {
  if (read_up_to(bytes_at_the_end) == reading::ended) watch_.reset();
  finish_line();
}

output_pipe::reading output_pipe::read_up_to(std::size_t most) {
  std::array<char, bytes_a_read> bytes;
  for (std::size_t total = 0; total < most;) {
    ssize_t length = ::read(fd(), bytes.data(), std::min(bytes.size(), most - total));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return reading::waits;
    if (length <= 0) return reading::ended;
    total += static_cast<std::size_t>(length);
    take(std::string_view(bytes.data(), static_cast<std::size_t>(length)));
  }
  return reading::more;
}

void output_pipe::take(std::string_view bytes) {
  keep(bytes);
  while (!bytes.empty()) {
    std::size_t end = bytes.find('\n');
    std::string_view piece = bytes.substr(0, end);
    // One byte more than is shown, so that a line that was cut says so.
    partial_ += piece.substr(0, longest_line + 1 - std::min(partial_.size(), longest_line + 1));
    has_partial_ = true;
    if (end == std::string_view::npos) return;
    finish_line();
    bytes.remove_prefix(end + 1);
  }
}

void output_pipe::finish_line() {
  if (!has_partial_) return;
  if (partial_.ends_with('\r')) partial_.pop_back();
  ++lines_;
  line_(printable(partial_, longest_line));
  partial_.clear();
  has_partial_ = false;
}

void output_pipe::keep(std::string_view bytes) {
  kept_ += bytes;
  if (kept_.size() <= 2 * kept_for_verdict) return;
  kept_.erase(0, kept_.size() - kept_for_verdict);
  kept_is_cut_ = true;
}

output_memory output_pipe::remembered(std::size_t most) const {
  bool const fits = kept_.size() <= most;
  return {partial_, fits ? kept_ : kept_.substr(kept_.size() - most), kept_is_cut_ || !fits};
}

std::vector<std::string> output_pipe::tail_of(std::string_view rest, bool cut, std::size_t most) {
  cut = cut || rest.size() > kept_for_verdict;
  if (rest.size() > kept_for_verdict) rest.remove_prefix(rest.size() - kept_for_verdict);
  std::size_t first_end = rest.find('\n');
  if (cut && first_end != std::string_view::npos) rest.remove_prefix(first_end + 1);
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  std::vector<std::string> lines;
  while (!rest.empty() && lines.size() < most) {
    std::size_t before = rest.rfind('\n');
    std::string_view line = before == std::string_view::npos ? rest : rest.substr(before + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(printable(line, longest_line));
    rest = before == std::string_view::npos ? std::string_view() : rest.substr(0, before);
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

}  // namespace handoff
