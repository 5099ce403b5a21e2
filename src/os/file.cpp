#include "file.hpp"

#include <base/unique_fd.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace handoff {

namespace {

result<> write_file(std::string const& path, int flags, std::string_view bytes) {
  unique_fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT | O_NOFOLLOW | flags, 0600));
  if (!fd) return os_failure("opening " + path);
  if (auto written = write_all(fd.get(), bytes); !written)
    return failure(std::move(written.error()).during(path));
  return {};
}

}  // namespace

result<> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_failure("writing");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

result<std::string> read_file(std::string const& path, std::size_t limit) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return os_failure("opening " + path);
  struct stat about{};
  if (::fstat(fd.get(), &about) < 0) return os_failure("looking at " + path);
  if (!S_ISREG(about.st_mode)) return plain_failure(path + ": not a regular file");
  std::string text;
  char part[16384];
  for (;;) {
    ssize_t n = ::read(fd.get(), part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_failure("reading " + path);
    if (n == 0) return text;
    text.append(part, static_cast<std::size_t>(n));
    if (text.size() > limit) return plain_failure(path + ": larger than " + std::to_string(limit) + " bytes");
  }
}

result<> append_to_file(std::string const& path, std::string_view bytes) {
  return write_file(path, O_APPEND, bytes);
}

result<> replace_file(std::string const& path, std::string_view bytes) {
  std::string draft = path + ".new";
  if (auto written = write_file(draft, O_TRUNC, bytes); !written) {
    ::unlink(draft.c_str());
    return written;
  }
  if (::rename(draft.c_str(), path.c_str()) == 0) return {};
  auto why = os_failure("renaming " + draft);
  ::unlink(draft.c_str());
  return why;
}

}  // namespace handoff
