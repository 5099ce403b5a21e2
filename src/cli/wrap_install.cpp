#include "wrap_install.hpp"

#include <os/file.hpp>

#include <cli/wrap_files.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>

namespace handoff::cli {

namespace {

constexpr std::size_t most_bytes = 1 << 20;

std::string directory_of(std::string const& path) { return path.substr(0, path.rfind('/')); }

constexpr mode_t for_everybody = 0644, for_owner = 0600;

result<> write(std::string const& path, mode_t mode, std::string_view text) {
  if (::mkdir(directory_of(path).c_str(), 0755) < 0 && errno != EEXIST)
    return os_failure("making " + directory_of(path));
  if (auto written = replace_file(path, text); !written) return written;
  if (::chmod(path.c_str(), mode) < 0) return os_failure("chmod " + path);
  return {};
}

std::string target_of(std::string const& link) {
  std::array<char, PATH_MAX> text{};
  ssize_t n = ::readlink(link.c_str(), text.data(), text.size());
  return {text.data(), n < 0 ? 0 : static_cast<std::size_t>(n)};
}

}  // namespace

wrap_paths paths_of(std::string const& unit, std::string const& name) {
  return {"/etc/handoff/" + name + ".toml", "/etc/systemd/system/" + unit + ".d/50-handoff.conf",
          "/etc/needrestart/restart.d/" + unit};
}

std::vector<std::string> missing_directories(wrap_paths const& paths) {
  std::vector<std::string> missing;
  for (auto const& path : {paths.configuration, paths.drop_in})
    if (::access(directory_of(path).c_str(), F_OK) < 0) missing.push_back(directory_of(path));
  return missing;
}

result<> are_free(wrap_paths const& paths) {
  for (auto const& path : {paths.configuration, paths.drop_in})
    if (::access(path.c_str(), F_OK) == 0) return plain_failure(path + " is there already");
  return {};
}

bool needs_restart_link(wrap_paths const& paths, std::string const& restart) {
  return ::access(restart.c_str(), X_OK) == 0 && ::access(directory_of(paths.restart).c_str(), F_OK) == 0 &&
         ::access(paths.restart.c_str(), F_OK) < 0;
}

result<> install(wrap_paths const& paths, std::string_view configuration, bool secret,
                 std::string_view drop_in, std::string const& restart) {
  if (auto free = are_free(paths); !free) return free;
  if (auto written = write(paths.configuration, secret ? for_owner : for_everybody, configuration); !written)
    return written;
  if (auto written = write(paths.drop_in, for_everybody, drop_in); !written) {
    ::unlink(paths.configuration.c_str());
    return written;
  }
  // Without it needrestart defers the unit, where it has our configuration.
  if (needs_restart_link(paths, restart))
    static_cast<void>(::symlink(restart.c_str(), paths.restart.c_str()));
  return {};
}

bool is_wrapped(std::string const& unit) {
  auto text = read_file(paths_of(unit, "").drop_in, most_bytes);
  return text && read_drop_in(*text);
}

result<> uninstall(std::string const& unit, std::string const& restart, std::vector<std::string>& notes) {
  auto const [_, drop_in, link] = paths_of(unit, "");
  auto text = read_file(drop_in, most_bytes);
  if (!text) return std::unexpected(std::move(text.error()).during(unit + " is not wrapped"));
  auto belongs = read_drop_in(*text);
  if (!belongs) return plain_failure(drop_in + " is not of `handoff wrap`");
  std::string const& path = belongs->configuration_path;
  if (auto now = read_file(path, most_bytes); now && digest_of(*now) != belongs->digest) {
    if (::rename(path.c_str(), (path + ".old").c_str()) < 0) return os_failure("renaming " + path);
    notes.push_back(path + " was changed since: it is kept as " + path + ".old");
  } else if (::unlink(path.c_str()) < 0 && errno != ENOENT) {
    return os_failure("removing " + path);
  }
  if (::unlink(drop_in.c_str()) < 0) return os_failure("removing " + drop_in);
  if (target_of(link) == restart) ::unlink(link.c_str());
  // Unless somebody uses them by now.
  for (auto const& directory : belongs->made_directories) ::rmdir(directory.c_str());
  return {};
}

}  // namespace handoff::cli
