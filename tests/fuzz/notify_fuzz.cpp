// A service's bytes as a notify datagram: every value is in its bounds, and said again in plain words it
// reads the same.
#include "support.hpp"

#include <base/text.hpp>
#include <core/settings.hpp>
#include <wire/listen_environment.hpp>
#include <wire/notify_datagram.hpp>

using namespace handoff;

namespace {

bool is_period(std::optional<std::chrono::microseconds> const& period) {
  return !period || (period->count() > 0 && *period <= limit::longest);
}

void check_bounds(notify_datagram const& d) {
  require(!d.status || (d.status->size() <= limit::notify_status &&
                        printable(*d.status, limit::notify_status) == *d.status));
  require(!d.error_number || *d.error_number > 0);
  require(!d.main_pid || *d.main_pid > 0);
  require(!d.reload_started || d.reload_started->count() > 0);
  require(is_period(d.watchdog_period) && is_period(d.extend_timeout));
  require(is_descriptor_name(d.stored_name()));
}

template <class Number>
std::string line(char const* key, std::optional<Number> const& value) {
  return value ? key + std::to_string(*value) + "\n" : "";
}

std::string line(char const* key, std::optional<std::chrono::microseconds> const& value) {
  return value ? key + std::to_string(value->count()) + "\n" : "";
}

std::string line(char const* key, std::optional<std::string> const& value) {
  return value ? key + *value + "\n" : "";
}

std::string in_plain_words(notify_datagram const& d) {
  if (d.barrier) return "BARRIER=1";
  std::string bytes;
  if (d.state == notify_state::ready) bytes += "READY=1\n";
  if (d.state == notify_state::reloading) bytes += "RELOADING=1\n";
  if (d.state == notify_state::stopping) bytes += "STOPPING=1\n";
  if (d.watchdog == notify_watchdog::ping) bytes += "WATCHDOG=1\n";
  if (d.watchdog == notify_watchdog::trigger) bytes += "WATCHDOG=trigger\n";
  if (d.store) bytes += "FDSTORE=1\n";
  if (d.remove_stored) bytes += "FDSTOREREMOVE=1\n";
  if (!d.poll_stored) bytes += "FDPOLL=0\n";
  return bytes + line("MONOTONIC_USEC=", d.reload_started) + line("STATUS=", d.status) +
         line("ERRNO=", d.error_number) + line("MAINPID=", d.main_pid) +
         line("WATCHDOG_USEC=", d.watchdog_period) + line("EXTEND_TIMEOUT_USEC=", d.extend_timeout) +
         line("FDNAME=", d.descriptor_name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto read = read_notify_datagram(as_text(data, size));
  if (!read) return 0;
  require(size <= limit::notify_datagram);
  check_bounds(*read);
  auto again = read_notify_datagram(in_plain_words(*read));
  require(again && *again == *read);
  return 0;
}
