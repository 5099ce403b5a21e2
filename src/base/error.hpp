// One error type for the whole project: a code, and the story of what was being done.
// Each layer that knows more adds a phrase with during(); nobody logs on the way.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace handoff {

struct error {
  std::error_code code;  // unset when the failure is not a system call's
  std::string doing;     // "binding 'http' at 0.0.0.0:80", outermost phrase first

  error during(std::string_view outer) && {
    doing = doing.empty() ? std::string(outer) : std::string(outer) + ": " + doing;
    return std::move(*this);
  }

  std::string message() const { return code ? doing + ": " + code.message() : doing; }
};

template <class T = void>
using result = std::expected<T, error>;

using failure = std::unexpected<error>;

// The error for `errno` as the last system call left it.
inline failure os_failure(std::string doing, int saved_errno = errno) {
  return failure(error{std::error_code(saved_errno, std::generic_category()), std::move(doing)});
}

inline failure plain_failure(std::string what) { return failure(error{{}, std::move(what)}); }

}  // namespace handoff
