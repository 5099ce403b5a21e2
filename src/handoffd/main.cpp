// handoffd CONFIG: supervises one service.
#include <os/runtime_directory.hpp>
#include <os/service_manager.hpp>

#include <CLI/CLI.hpp>
#include <handoffd/configuration_file.hpp>
#include <handoffd/legacy.hpp>
#include <handoffd/supervisor.hpp>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace {

constexpr int failed = 1, invalid_use = 2;

// A program of ours that handoffd runs, from elsewhere when `variable` says so.
std::string helper_path(char const* variable, char const* installed) {
  char const* other = std::getenv(variable);
  return other != nullptr ? other : installed;
}

int complain(std::string const& what, int code) {
  std::fprintf(stderr, "handoffd: %s\n", what.c_str());
  return code;
}

// Where a package puts the next version of us.
std::string own_path() {
  std::error_code unknown;
  auto path = std::filesystem::read_symlink("/proc/self/exe", unknown);
  return unknown ? HANDOFF_SBIN "/handoffd" : path.string();
}

// The configuration as it is now, unless a predecessor knows what is in force: then one that cannot be read
// changes nothing.
std::optional<int> begin_with(std::string const& path, handoff::legacy& received, handoff::settings& into) {
  auto read = handoff::configuration_file(path).read();
  auto directory = handoff::runtime_directory_path();
  if (directory && !handoff::service_manager::keeps_descriptors()) {
    auto service = read ? read->service.name : handoff::remembered_service(*directory, path);
    auto found = service.empty() ? handoff::result<>() : handoff::find_legacy(received, *directory, service);
    if (!found) return complain(found.error().message(), failed);
  }
  if (!read)
    for (auto const& problem : read.error()) complain(problem, invalid_use);
  if (received.left) return {};
  if (!read) return invalid_use;
  into = std::move(*read);
  return {};
}

// Nothing of a predecessor's is lost by one who cannot go on: without destructors, no socket leaves its path.
[[noreturn]] void leave_to_next(handoff::error const& why) {
  complain(why.message(), failed);
  std::_Exit(failed);
}

int supervise(std::string path, char** arguments) {
  // After an exec of a descriptor the kernel names us by its number (before Linux 6.14).
  ::prctl(PR_SET_NAME, "handoffd");
  auto received = handoff::receive_legacy();
  if (!received) return complain(received.error().message(), failed);
  bool by_exec = received->left && !received->predecessor_died;
  // Symlinks stay: what a link in it leads to by the next upgrade is what shall be read then.
  std::error_code unknown;  // the working directory is gone: the path is used as it is
  if (auto full = std::filesystem::absolute(path, unknown); !unknown) path = full;
  handoff::supervisor_options options{.program = by_exec ? arguments[0] : own_path(), .configuration = path};
  options.launcher = helper_path("HANDOFF_EXEC", HANDOFF_LIBEXEC "/handoff-exec");
  options.probe = helper_path("HANDOFF_PROBE", HANDOFF_LIBEXEC "/handoff-probe");
  auto directory = handoff::runtime_directory_path();
  if (received->predecessor_died && directory)
    if (auto taken = handoff::take_back_missing(*received, *directory); !taken)
      return complain(taken.error().message(), failed);
  if (!received->left)
    if (auto bad = begin_with(path, *received, options.first)) return *bad;
  if (received->left) options.first = received->left->current;
  if (!received->trouble.empty()) complain("cannot go on where a predecessor ended: " + received->trouble, 0);
  if (!received->missing.empty()) complain(received->missing, 0);
  options.passed = std::move(received->passed);
  options.left = std::move(received->left);
  options.inherited = std::move(received->inherited);
  options.predecessor_died = received->predecessor_died;
  if (options.left)
    options.stumbled = [&](handoff::error const& why) {
      if (received->again.is_possible()) complain(why.message() + ": tried again", failed);
      received->again.begin(arguments);
      leave_to_next(why);
    };
  auto made = handoff::supervisor::create(std::move(options));
  if (!made) return complain(made.error().message(), failed);
  received->again = {};
  (*made)->run();
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  CLI::App app{"handoffd supervises one network service and upgrades it without losing a connection"};
  app.set_version_flag("--version", "handoffd " HANDOFF_VERSION);
  std::string path;
  int snapshot = -1;
  auto* configuration = app.add_option("CONFIG", path, "configuration of the service (handoff.toml(5))");
  auto* trial =
      app.add_option("--try-snapshot", snapshot,
                     "only tell whether this version could go on from the snapshot in descriptor FD, "
                     "and exit; a running handoffd asks before it becomes this one")
          ->type_name("FD")
          ->excludes(configuration);
  app.footer(
      "Signals: HUP upgrades, TERM and INT drain and stop, USR1 reopens the log, USR2 becomes the handoffd\n"
      "that is installed by now. See handoffd(8) and handoff(1).");
  try {
    app.parse(count, arguments);
    if (!*trial && !*configuration) throw CLI::RequiredError("CONFIG");
  } catch (CLI::ParseError const& e) {
    return app.exit(e) == 0 ? 0 : invalid_use;
  }
  if (!*trial) return supervise(path, arguments);
  auto readable = handoff::try_snapshot(snapshot);
  return readable ? 0 : complain(readable.error().message(), failed);
}
