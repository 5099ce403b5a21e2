// handoffd CONFIG: supervises one service.
#include <CLI/CLI.hpp>
#include <handoffd/release_book.hpp>
#include <handoffd/supervisor.hpp>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
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

}  // namespace

int main(int count, char** arguments) {
  CLI::App app{"handoffd supervises one network service and upgrades it without losing a connection"};
  app.set_version_flag("--version", "handoffd " HANDOFF_VERSION);
  std::string path;
  app.add_option("CONFIG", path, "configuration of the service (handoff.toml(5))")->required();
  app.footer(
      "Signals: HUP upgrades, TERM and INT drain and stop, USR1 reopens the log. See handoffd(8) and "
      "handoff(1).");
  try {
    app.parse(count, arguments);
  } catch (CLI::ParseError const& e) {
    return app.exit(e) == 0 ? 0 : invalid_use;
  }
  // Symlinks stay: what a link in it leads to by the next upgrade is what shall be read then.
  std::error_code unknown;  // the working directory is gone: the path is used as it is
  if (auto full = std::filesystem::absolute(path, unknown); !unknown) path = full;
  auto configuration = handoff::read_configuration(path);
  if (!configuration) {
    for (auto const& problem : configuration.error()) complain(problem, invalid_use);
    return invalid_use;
  }
  auto made = handoff::supervisor::create({path, helper_path("HANDOFF_EXEC", HANDOFF_LIBEXEC "/handoff-exec"),
                                           helper_path("HANDOFF_PROBE", HANDOFF_LIBEXEC "/handoff-probe"),
                                           std::move(*configuration)});
  if (!made) return complain(made.error().message(), failed);
  (*made)->run();
  return 0;
}
