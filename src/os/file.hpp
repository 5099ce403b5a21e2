// Whole files, small and bounded.
#pragma once

#include <base/error.hpp>

#include <string>
#include <string_view>

namespace handoff {

// The contents of a regular file of at most `limit` bytes.
result<std::string> read_file(std::string const& path, std::size_t limit);

// All of `bytes`, to a file that is open and never full for a while only: no pipe, no socket.
result<> write_all(int fd, std::string_view bytes);

// Adds to the end, creating the file for its owner alone. A symbolic link is refused: it may lead anywhere.
result<> append_to_file(std::string const& path, std::string_view bytes);

// In place of what is there, all or nothing, by way of a draft beside it, `path` + ".new".
result<> replace_file(std::string const& path, std::string_view bytes);

}  // namespace handoff
