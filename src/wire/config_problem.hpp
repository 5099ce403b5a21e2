// What is wrong with a configuration, and the collector that every reading function reports to.
#pragma once

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// Where something stands in a file, counted from 1; 0:0 means the whole file.
struct config_place {
  unsigned line = 0;
  unsigned column = 0;

  auto operator<=>(config_place const&) const = default;
};

// One thing wrong with a configuration, where it stands, and what was expected.
struct config_problem {
  unsigned line = 0;  // from 1; 0 when the whole file is meant
  unsigned column = 0;
  std::string what;  // "unknown key 'comand' in [service]: did you mean 'command'?"

  bool operator==(config_problem const&) const = default;
};

// "web.toml:12:3: unknown key …", without the numbers when the whole file is meant.
std::string to_string(config_problem const&, std::string_view file);

namespace limit {
constexpr std::size_t config_problems = 100;  // told in one reading; the rest is counted
constexpr std::size_t config_quote = 60;      // bytes of the file that a message repeats
}  // namespace limit

// `text` between quotes, fit to be shown.
std::string in_quotes(std::string_view text);

// Collects problems. The subject is what is being read ("[drain] timeout"); readers of values need not know
// it.
class config_report {
 public:
  void add(config_place, std::string what);
  // The same, with the subject in front: "[drain] timeout: expected …".
  void object(config_place, std::string_view what);

  bool empty() const { return problems_.empty(); }
  // Whether further problems are only counted, so that nobody need look for good words any more.
  bool full() const { return problems_.size() == limit::config_problems; }
  // Whether nothing was reported of what stands there; rules about a broken value would only add noise.
  bool sound(config_place) const;
  // All of them in the order of the file; when there were too many, the last one says how many are missing.
  std::vector<config_problem> take();

  std::string subject;

 private:
  std::vector<config_problem> problems_;  // sorted by place
  std::size_t untold_ = 0;
};

}  // namespace handoff
