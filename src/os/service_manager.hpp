// Upward to systemd: the sockets it passes, what it is told, its watchdog. The only user of sd-daemon.
// Without systemd everything here does nothing and succeeds.
#pragma once

#include <base/error.hpp>
#include <os/listener.hpp>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

class service_manager {
 public:
  // The descriptors of LISTEN_FDS with their names, close-on-exec. Takes the variables out of the
  // environment, so that no child mistakes them for its own; a second call finds none.
  static result<std::vector<named_descriptor>> adopted_descriptors();

  // Each tells systemd one thing, without waiting for it to listen: what cannot be sent goes with the next
  // call, with a line for `systemctl status` where that changes too. The line is made printable and bounded,
  // so nothing in it can forge another message.
  static result<> ready(std::string_view status);
  // Carries the time of the call, which must come after the trigger.
  static result<> reloading(std::string_view status);
  static result<> stopping(std::string_view status);
  static result<> status(std::string_view line);
  static result<> watchdog();
  static result<> extend_timeout(std::chrono::microseconds by);

  // To be called now and then.
  static result<> send_what_waits();
  static bool has_sent_all();
  static std::size_t sent();  // messages, in all
  // Waits for it, a second at most: for who ends.
  static void send_all();
  // Waits until it has read all of it, some seconds at most: for who begins.
  static void catch_up();

  // How many it keeps for us: FDSTORE, which systemd sets since 254, and our units for older ones.
  static std::size_t store_size();
  static bool keeps_descriptors() { return store_size() > 0; }

  // Puts a descriptor into systemd's store, or among what waits, under a name of at most 255 printable ASCII
  // characters without ':'. It stays there whatever becomes of its other end (FDPOLL=0).
  static result<> store(std::string_view name, int descriptor);
  static result<> forget(std::string_view name);

  // A stream to systemd's journal, for a service's output under `identifier` (sd_journal_stream_fd(3)).
  static result<unique_fd> journal_stream(std::string const& identifier);

  // How often systemd wants watchdog(), halved as sd_watchdog_enabled(3) advises; nothing when it does not
  // watch us.
  static std::optional<std::chrono::microseconds> watchdog_interval();
};

}  // namespace handoff
