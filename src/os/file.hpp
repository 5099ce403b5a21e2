// Whole files, small and bounded.
#pragma once

#include <base/error.hpp>

#include <string>
#include <string_view>

namespace handoff {

// The contents of a regular file of at most `limit` bytes.
result<std::string> read_file(std::string const& path, std::size_t limit);

// Adds to the end, creating the file for its owner alone.
result<> append_to_file(std::string const& path, std::string_view bytes);

// In place of what is there, all or nothing.
result<> replace_file(std::string const& path, std::string_view bytes);

}  // namespace handoff
