#include "enduring_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>

namespace handoff {

namespace {

// At the beginning. Smaller than a page, so that a signal which kills us comes before or after it is written.
struct heading {
  std::uint64_t magic = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
constexpr std::uint64_t magic = 0x31676e6972756e65;

constexpr std::uint64_t first_half = 4096;
constexpr std::uint64_t second_half = first_half + enduring_memory::most;

result<> write_at(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return os_failure("remembering for a successor");
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

result<> read_at(int fd, char* to, std::size_t length, std::uint64_t offset) {
  while (length > 0) {
    ssize_t got = ::pread(fd, to, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_failure("reading what a predecessor remembered");
    if (got == 0) return plain_failure("reading what a predecessor remembered: it is cut short");
    to += got;
    offset += static_cast<std::uint64_t>(got);
    length -= static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace

result<enduring_memory> enduring_memory::create() {
  unique_fd fd(::memfd_create("handoff-memory", MFD_CLOEXEC));
  if (!fd) return os_failure("creating memory for a successor");
  return enduring_memory(std::move(fd));
}

result<enduring_memory> enduring_memory::create(std::string const& path) {
  std::string beside = path + ".new";
  unique_fd fd(::open(beside.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return os_failure("creating " + beside);
  enduring_memory made(std::move(fd));
  made.path_ = path;
  return made;
}

enduring_memory enduring_memory::adopt(unique_fd fd) {
  enduring_memory adopted(std::move(fd));
  heading last;
  auto got = read_at(adopted.fd_.get(), reinterpret_cast<char*>(&last), sizeof last, 0);
  if (got && last.offset == first_half) adopted.writings_ = 1;
  return adopted;
}

result<> enduring_memory::write(std::string_view bytes) {
  if (bytes.size() > most) return plain_failure("remembering for a successor: it is too much");
  heading next{magic, writings_ % 2 == 0 ? first_half : second_half, bytes.size()};
  if (auto done = write_at(fd_.get(), bytes, next.offset); !done) return done;
  auto done = write_at(fd_.get(), {reinterpret_cast<char const*>(&next), sizeof next}, 0);
  if (!done) return done;
  ++writings_;
  if (!path_.empty() && ::rename((path_ + ".new").c_str(), path_.c_str()) < 0)
    return os_failure("putting " + path_ + " in its place");
  path_.clear();
  return {};
}

result<std::string> enduring_memory::read(int fd) {
  heading last;
  if (auto got = read_at(fd, reinterpret_cast<char*>(&last), sizeof last, 0); !got)
    return std::unexpected(got.error());
  bool ours =
      last.magic == magic && last.length <= most && (last.offset == first_half || last.offset == second_half);
  if (!ours) return plain_failure("reading what a predecessor remembered: it is something else");
  std::string bytes(last.length, '\0');
  if (auto got = read_at(fd, bytes.data(), bytes.size(), last.offset); !got)
    return std::unexpected(got.error());
  return bytes;
}

}  // namespace handoff
