#include <core/settings.hpp>
#include <wire/notify_datagram.hpp>

#include <catch2/catch.hpp>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

notify_datagram with(void (*change)(notify_datagram&)) {
  notify_datagram d;
  change(d);
  return d;
}

}  // namespace

TEST_CASE("every key of sd_notify is understood") {
  auto [says, bytes, expected] = GENERATE(table<char const*, std::string, notify_datagram>({
      {"nothing says nothing", "", {}},
      {"ready", "READY=1", with([](auto& d) { d.state = notify_state::ready; })},
      {"stopping", "STOPPING=1", with([](auto& d) { d.state = notify_state::stopping; })},
      {"reloading, and since when", "RELOADING=1\nMONOTONIC_USEC=12345\n", with([](auto& d) {
         d.state = notify_state::reloading;
         d.reload_started = 12345us;
       })},
      {"the last state counts", "RELOADING=1\nREADY=1", with([](auto& d) { d.state = notify_state::ready; })},
      {"a status", "STATUS=3 of 4 = 75 %", with([](auto& d) { d.status = "3 of 4 = 75 %"; })},
      {"an empty status clears", "STATUS=", with([](auto& d) { d.status = ""; })},
      {"the last status counts", "STATUS=a\nSTATUS=b", with([](auto& d) { d.status = "b"; })},
      {"a status is printable", "STATUS=\x1B[2J\r", with([](auto& d) { d.status = "?[2J "; })},
      {"an errno", "ERRNO=2", with([](auto& d) { d.error_number = 2; })},
      {"a main pid", "MAINPID=4711", with([](auto& d) { d.main_pid = 4711; })},
      {"a watchdog ping", "WATCHDOG=1", with([](auto& d) { d.watchdog = notify_watchdog::ping; })},
      {"a watchdog trigger", "WATCHDOG=trigger",
       with([](auto& d) { d.watchdog = notify_watchdog::trigger; })},
      {"another watchdog period", "WATCHDOG_USEC=20000000", with([](auto& d) { d.watchdog_period = 20s; })},
      {"more time", "EXTEND_TIMEOUT_USEC=1", with([](auto& d) { d.extend_timeout = 1us; })},
      {"no more time than any", "EXTEND_TIMEOUT_USEC=18446744073709551615",
       with([](auto& d) { d.extend_timeout = limit::longest; })},
      {"store", "FDSTORE=1\nFDNAME=state\nFDPOLL=0", with([](auto& d) {
         d.store = true;
         d.descriptor_name = "state";
         d.poll_stored = false;
       })},
      {"take out of the store", "FDSTOREREMOVE=1\nFDNAME=state", with([](auto& d) {
         d.remove_stored = true;
         d.descriptor_name = "state";
       })},
      {"a bad name is none", "FDSTORE=1\nFDNAME=a:b", with([](auto& d) { d.store = true; })},
      {"a barrier", "BARRIER=1", with([](auto& d) { d.barrier = true; })},
      {"a counted end of string", std::string("READY=1\0", 8),
       with([](auto& d) { d.state = notify_state::ready; })},
  }));
  CAPTURE(says);
  auto read = read_notify_datagram(bytes);
  REQUIRE(read);
  CHECK(*read == expected);
}

TEST_CASE("what makes no sense is left out") {
  auto bytes =
      GENERATE("READY=0", "READY=yes", "READY", "ready=1", " READY=1", "X_READY=1", "=1", "\n\n=\n",
               "ERRNO=0", "ERRNO=-1", "ERRNO=2x", "ERRNO=", "ERRNO= 2", "ERRNO=99999999999", "MAINPID=0",
               "MAINPID=x", "MAINPID=2147483648", "WATCHDOG=2", "WATCHDOG_USEC=0", "WATCHDOG_USEC=-1",
               "WATCHDOG_USEC=18446744073709551616", "MONOTONIC_USEC=0x10", "FDNAME=", "FDPOLL=1",
               "EXTEND_TIMEOUT_USEC=1.5", "FDSTORE=0", "NOTIFYACCESS=all", "BUSERROR=x", "BARRIER=0");
  CAPTURE(bytes);
  auto read = read_notify_datagram(bytes);
  REQUIRE(read);
  CHECK(*read == notify_datagram{});
}

TEST_CASE("what nobody means is refused as a whole") {
  CHECK_FALSE(read_notify_datagram(std::string("READY=1\0STATUS=x", 16)));
  CHECK_FALSE(read_notify_datagram("BARRIER=1\nREADY=1"));
  CHECK_FALSE(read_notify_datagram("READY=1\nBARRIER=1"));
  CHECK_FALSE(read_notify_datagram(std::string(limit::notify_datagram + 1, 'x')));
  CHECK(read_notify_datagram(std::string(limit::notify_datagram, 'x')));
}

TEST_CASE("a long status is cut, and what has no name is called stored") {
  auto read = read_notify_datagram("FDSTORE=1\nSTATUS=" + std::string(4000, 'x'));
  REQUIRE(read);
  CHECK(read->status->size() == limit::notify_status);
  CHECK(read->stored_name() == "stored");
}
