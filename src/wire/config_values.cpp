#include "config_values.hpp"

#include <base/characters.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <limits>
#include <optional>
#include <utility>

namespace handoff {

namespace {

constexpr std::uint64_t infinity = std::numeric_limits<std::uint64_t>::max();

struct unit {
  std::string_view name;
  std::int64_t milliseconds;
};
// Largest first. "m" stands before "min", so that it is the one that duration_text writes.
constexpr std::array<unit, 6> units{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"min", 60'000}, {"s", 1'000}, {"ms", 1}}};

void skip_blanks(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
}

// The number at the start of `text`, which it leaves behind; nothing when there is none or it is too large.
std::optional<std::uint64_t> take_number(std::string_view& text, int base = 10) {
  std::uint64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failed != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string_view take_word(std::string_view& text) {
  auto end = std::ranges::find_if_not(text, is_lowercase);
  std::string_view word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(word.size());
  return word;
}

failure bad_duration() {
  return plain_failure("expected a duration such as \"30s\", \"500ms\" or \"1h30m\"");
}

}  // namespace

result<duration> parse_duration(std::string_view text) {
  std::int64_t total = 0;
  std::int64_t last_unit = std::numeric_limits<std::int64_t>::max();
  skip_blanks(text);
  do {
    auto count = take_number(text);
    skip_blanks(text);
    std::string_view name = take_word(text);
    skip_blanks(text);
    auto found = std::ranges::find(units, name, &unit::name);
    if (!count || found == units.end() || found->milliseconds >= last_unit) return bad_duration();
    last_unit = found->milliseconds;
    // A century is more than any bound, and keeps the sum far from overflow.
    constexpr std::uint64_t century = 100ULL * 366 * 86'400'000;
    if (*count > century / static_cast<std::uint64_t>(last_unit))
      return plain_failure("that is more than a century");
    total += static_cast<std::int64_t>(*count) * last_unit;
  } while (!text.empty());
  return duration(total);
}

std::string duration_text(duration value) {
  std::int64_t rest = value.count();
  std::string text;
  for (auto const& [name, milliseconds] : units) {
    if (rest / milliseconds != 0) text += std::to_string(rest / milliseconds) + std::string(name);
    rest %= milliseconds;
  }
  return text.empty() ? "0s" : text;
}

result<std::uint64_t> parse_size(std::string_view text) {
  auto expected = [] { return plain_failure("expected a size such as \"4096\", \"64K\" or \"1M\""); };
  auto count = take_number(text);
  constexpr std::string_view letters = "KMG";
  std::size_t letter = text.empty() ? 0 : letters.find(text[0]);
  if (!count || text.size() > 1 || letter == std::string_view::npos) return expected();
  if (text.empty()) return *count;
  auto shift = 10 * (static_cast<unsigned>(letter) + 1);
  if (*count > infinity >> shift) return plain_failure("that is more bytes than a number can hold");
  return *count << shift;
}

result<std::uint32_t> parse_mode(std::string_view text) {
  constexpr std::uint64_t all = 0777;
  auto mode = text.size() <= 5 ? take_number(text, 8) : std::nullopt;
  if (!mode || !text.empty() || *mode > all) {
    return plain_failure("expected an octal text such as \"0660\", from \"0000\" to \"0777\"");
  }
  return static_cast<std::uint32_t>(*mode);
}

result<std::uint32_t> parse_percentage(std::string_view text) {
  constexpr std::uint64_t whole = 100;
  auto value = take_number(text);
  if (!value || *value > whole || text != "%")
    return plain_failure("expected a whole percentage from \"0%\" to \"100%\"");
  return static_cast<std::uint32_t>(*value);
}

result<status_range> parse_status_range(std::string_view text) {
  auto code = [](std::string_view& rest) -> std::optional<std::uint16_t> {
    auto value = take_number(rest);
    bool valid = value && *value >= 100 && *value <= 599;
    return valid ? std::optional(static_cast<std::uint16_t>(*value)) : std::nullopt;
  };
  auto first = code(text);
  auto last = first;
  if (first && text.starts_with('-')) {
    text.remove_prefix(1);
    last = code(text);
  }
  if (!first || !last || !text.empty() || *last < *first)
    return plain_failure("expected a status from 100 to 599, or a range such as \"200-399\"");
  return status_range{*first, *last};
}

std::string status_text(status_range range) {
  std::string first = std::to_string(range.first);
  return range.first == range.last ? first : first + "-" + std::to_string(range.last);
}

result<int> parse_signal(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, int>, 9> signals{{{"TERM", SIGTERM},
                                                                            {"INT", SIGINT},
                                                                            {"QUIT", SIGQUIT},
                                                                            {"HUP", SIGHUP},
                                                                            {"USR1", SIGUSR1},
                                                                            {"USR2", SIGUSR2},
                                                                            {"WINCH", SIGWINCH},
                                                                            {"ABRT", SIGABRT},
                                                                            {"KILL", SIGKILL}}};
  if (text.starts_with("SIG")) text.remove_prefix(3);
  for (auto const& [name, value] : signals) {
    if (text == name) return value;
  }
  std::string names;
  for (auto const& [name, value] : signals) names += (names.empty() ? "SIG" : ", SIG") + std::string(name);
  return plain_failure("expected one of " + names);
}

result<limit_pair> parse_limit(std::string_view text) {
  auto side = [](std::string_view half) -> result<std::uint64_t> {
    if (half == "infinity") return infinity;
    return parse_size(half);
  };
  std::size_t colon = text.find(':');
  auto soft = side(text.substr(0, colon));
  auto hard = colon == std::string_view::npos ? soft : side(text.substr(colon + 1));
  if (!soft || !hard) return plain_failure("expected a limit such as 65536, \"1024:4096\" or \"infinity\"");
  if (*soft > *hard) return plain_failure("the soft limit, which comes first, is above the hard one");
  return limit_pair{*soft, *hard};
}

result<duration_range> parse_duration_range(std::string_view text) {
  constexpr std::string_view dots = "..";
  std::size_t middle = text.find(dots);
  auto min = parse_duration(text.substr(0, middle));
  auto max = middle == std::string_view::npos ? min : parse_duration(text.substr(middle + dots.size()));
  if (!min || !max) return plain_failure("expected two durations such as \"100ms..30s\"");
  if (*min > *max) return plain_failure("the first duration is longer than the second");
  return duration_range{*min, *max};
}

result<output_settings> parse_output(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, output_kind>, 4> words{
      {{"capture", output_kind::capture},
       {"journal", output_kind::journal},
       {"inherit", output_kind::inherit},
       {"null", output_kind::null}}};
  for (auto const& [word, kind] : words) {
    if (text == word) return output_settings{kind, {}};
  }
  constexpr std::string_view file = "file:";
  if (text.starts_with("file:/"))
    return output_settings{output_kind::file, std::string(text.substr(file.size()))};
  return plain_failure("expected \"capture\", \"journal\", \"inherit\", \"null\" or \"file:/absolute/path\"");
}

std::span<std::string_view const> limit_names() {
  static constexpr std::array<std::string_view, 16> names{
      "as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
      "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  return names;
}

std::span<std::string_view const> capability_names() {
  static constexpr std::array<std::string_view, 41> names{"CAP_CHOWN",
                                                          "CAP_DAC_OVERRIDE",
                                                          "CAP_DAC_READ_SEARCH",
                                                          "CAP_FOWNER",
                                                          "CAP_FSETID",
                                                          "CAP_KILL",
                                                          "CAP_SETGID",
                                                          "CAP_SETUID",
                                                          "CAP_SETPCAP",
                                                          "CAP_LINUX_IMMUTABLE",
                                                          "CAP_NET_BIND_SERVICE",
                                                          "CAP_NET_BROADCAST",
                                                          "CAP_NET_ADMIN",
                                                          "CAP_NET_RAW",
                                                          "CAP_IPC_LOCK",
                                                          "CAP_IPC_OWNER",
                                                          "CAP_SYS_MODULE",
                                                          "CAP_SYS_RAWIO",
                                                          "CAP_SYS_CHROOT",
                                                          "CAP_SYS_PTRACE",
                                                          "CAP_SYS_PACCT",
                                                          "CAP_SYS_ADMIN",
                                                          "CAP_SYS_BOOT",
                                                          "CAP_SYS_NICE",
                                                          "CAP_SYS_RESOURCE",
                                                          "CAP_SYS_TIME",
                                                          "CAP_SYS_TTY_CONFIG",
                                                          "CAP_MKNOD",
                                                          "CAP_LEASE",
                                                          "CAP_AUDIT_WRITE",
                                                          "CAP_AUDIT_CONTROL",
                                                          "CAP_SETFCAP",
                                                          "CAP_MAC_OVERRIDE",
                                                          "CAP_MAC_ADMIN",
                                                          "CAP_SYSLOG",
                                                          "CAP_WAKE_ALARM",
                                                          "CAP_BLOCK_SUSPEND",
                                                          "CAP_AUDIT_READ",
                                                          "CAP_PERFMON",
                                                          "CAP_BPF",
                                                          "CAP_CHECKPOINT_RESTORE"};
  return names;
}

namespace {

// How many insertions, removals, exchanges and swaps of neighbours lie between two words.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before_last, last(to.size() + 1), row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      std::size_t exchanged = last[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, exchanged});
      bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, row);
  }
  return last[to.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<std::string_view const> candidates) {
  constexpr std::size_t longest_word = 32;  // longer ones are no slip of the finger, and would cost time
  if (word.size() > longest_word) return {};
  std::string_view best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (std::string_view candidate : candidates) {
    std::size_t steps = distance(word, candidate);
    if (steps < least) {
      least = steps;
      best = candidate;
    }
  }
  return best;
}

}  // namespace handoff
