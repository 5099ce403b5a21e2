// Bytes that outlive us: a memory that a store keeps, or a file. Written in halves, so that whoever reads it
// after our death at any moment finds the last whole writing.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace handoff {

class enduring_memory {
 public:
  // In memory of its own, to be given to a store.
  static result<enduring_memory> create();
  // A file, for its owner alone. It takes the place of another one with the first writing.
  static result<enduring_memory> create(std::string const& path);
  // A predecessor's, to go on writing.
  static enduring_memory adopt(unique_fd);

  // At most `most` bytes.
  static constexpr std::size_t most = 8 << 20;
  result<> write(std::string_view bytes);

  // What was written last, of any such memory.
  static result<std::string> read(int fd);

  int fd() const { return fd_.get(); }

 private:
  explicit enduring_memory(unique_fd fd) : fd_(std::move(fd)) {}

  unique_fd fd_;
  std::string path_;  // until it stands there
  std::uint64_t writings_ = 0;
};

}  // namespace handoff
