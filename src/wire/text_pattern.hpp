// A regular expression that a text has to match as a whole.
#pragma once

#include <base/error.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace handoff {

// ECMAScript's syntax, without back references: what RE2 and ECMAScript have in common means the same. The
// standard library's is used because handoffd carries that library anyhow, and its automaton takes polynomial
// time whatever a stranger's text is.
class text_pattern {
 public:
  static result<text_pattern> compile(std::string const& expression);
  bool matches(std::string_view text) const;

 private:
  struct automaton;
  explicit text_pattern(std::shared_ptr<automaton const> a) : automaton_(std::move(a)) {}
  std::shared_ptr<automaton const> automaton_;
};

}  // namespace handoff
