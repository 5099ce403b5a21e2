#include "notify_datagram.hpp"

#include <base/text.hpp>
#include <core/settings.hpp>
#include <wire/listen_environment.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace handoff {

namespace {

using std::chrono::microseconds;

// A decimal number of at least 1, nothing else in the text.
template <class Number>
std::optional<Number> positive(std::string_view text) {
  Number value = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

std::optional<microseconds> period(std::string_view text) {
  auto value = positive<std::uint64_t>(text);
  if (!value) return std::nullopt;
  constexpr auto longest = static_cast<std::uint64_t>(microseconds(limit::longest).count());
  return microseconds(static_cast<std::int64_t>(std::min(*value, longest)));
}

std::optional<microseconds> moment(std::string_view text) {
  auto value = positive<std::int64_t>(text);
  return value ? std::optional(microseconds(*value)) : std::nullopt;
}

template <class Value>
void keep(std::optional<Value>& into, std::optional<Value> value) {
  if (value) into = std::move(value);
}

void set_state(notify_datagram& d, std::string_view value, notify_state state) {
  if (value == "1") d.state = state;
}

struct key_meaning {
  std::string_view key;
  void (*apply)(notify_datagram&, std::string_view value);
};

constexpr std::array meanings = std::to_array<key_meaning>({
    {"READY", [](auto& d, auto value) { set_state(d, value, notify_state::ready); }},
    {"RELOADING", [](auto& d, auto value) { set_state(d, value, notify_state::reloading); }},
    {"STOPPING", [](auto& d, auto value) { set_state(d, value, notify_state::stopping); }},
    {"MONOTONIC_USEC", [](auto& d, auto value) { keep(d.reload_started, moment(value)); }},
    {"STATUS", [](auto& d, auto value) { d.status = printable(value, limit::notify_status); }},
    {"ERRNO", [](auto& d, auto value) { keep(d.error_number, positive<int>(value)); }},
    {"MAINPID", [](auto& d, auto value) { keep(d.main_pid, positive<std::int32_t>(value)); }},
    {"WATCHDOG",
     [](auto& d, auto value) {
       if (value == "1") d.watchdog = notify_watchdog::ping;
       if (value == "trigger") d.watchdog = notify_watchdog::trigger;
     }},
    {"WATCHDOG_USEC", [](auto& d, auto value) { keep(d.watchdog_period, period(value)); }},
    {"EXTEND_TIMEOUT_USEC", [](auto& d, auto value) { keep(d.extend_timeout, period(value)); }},
    {"FDSTORE", [](auto& d, auto value) { d.store = value == "1"; }},
    {"FDSTOREREMOVE", [](auto& d, auto value) { d.remove_stored = value == "1"; }},
    {"FDNAME",
     [](auto& d, auto value) {
       if (is_descriptor_name(value)) d.descriptor_name = std::string(value);
     }},
    {"FDPOLL", [](auto& d, auto value) { d.poll_stored = value != "0"; }},
});

void take_assignment(notify_datagram& d, std::string_view line) {
  std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) return;
  std::string_view key = line.substr(0, equals);
  for (auto const& meaning : meanings) {
    if (meaning.key == key) meaning.apply(d, line.substr(equals + 1));
  }
}

}  // namespace

result<notify_datagram> read_notify_datagram(std::string_view bytes) {
  if (bytes.size() > limit::notify_datagram) return plain_failure("a notify datagram that is too long");
  if (bytes.ends_with('\0')) bytes.remove_suffix(1);  // some senders count the end of their string
  if (bytes.find('\0') != std::string_view::npos) return plain_failure("a notify datagram with a NUL inside");
  notify_datagram read;
  std::size_t lines = 0;
  while (!bytes.empty()) {
    std::size_t end = std::min(bytes.find('\n'), bytes.size());
    std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (line.empty()) continue;
    ++lines;
    if (line == "BARRIER=1") {
      read.barrier = true;
    } else {
      take_assignment(read, line);
    }
  }
  // As systemd has it: a barrier that says more is a mistake, and nothing of it counts.
  if (read.barrier && lines > 1) return plain_failure("a notify datagram with more than a barrier");
  return read;
}

}  // namespace handoff
