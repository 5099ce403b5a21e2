#include "legacy.hpp"

#include <os/enduring_memory.hpp>
#include <os/launch.hpp>
#include <os/process.hpp>
#include <os/process_tree.hpp>
#include <os/runtime_directory.hpp>
#include <os/service_manager.hpp>
#include <os/survivors.hpp>

#include <fcntl.h>
#include <handoffd/keeper.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace handoff {

namespace {

enum class kept_by : std::uint8_t { store, file };

std::optional<int> descriptor_of(char const* text) {
  std::string_view digits = text;
  int fd = -1;
  auto [end, failed] = std::from_chars(digits.begin(), digits.end(), fd);
  if (failed != std::errc{} || end != digits.end() || fd < 3) return {};
  return fd;
}

result<legacy> receive_by_exec(int fd) {
  auto bytes = read_all(fd, snapshot_bytes);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  auto left = decode_snapshot(*bytes);
  if (!left) return std::unexpected(std::move(left.error()));
  legacy received;
  std::vector<int> ours{fd};
  for (auto const& [name, number] : left->descriptors) {
    ours.push_back(number);
    received.inherited.add(name, unique_fd(number));
  }
  close_all_but(ours);
  received.again = second_try(unique_fd(fd), ours);
  received.left = std::move(*left);
  return received;
}

std::vector<kept_process> processes_in(snapshot const& left) {
  std::vector<kept_process> all;
  for (auto const& i : left.instances) {
    all.push_back(i.launched);
    if (i.adopted) all.push_back(*i.adopted);
  }
  return all;
}

// Of this boot, when the number of one cannot be read (ProcSubset=pid): as what is left of it says.
result<bool> is_still_running(snapshot const& left) {
  for (auto const& p : processes_in(left)) {
    auto held = hold_process(p.pid, p.started);
    if (!held) return std::unexpected(std::move(held.error()));
    auto ended = *held ? process(p.pid, std::move(*held)).peek() : exit_status{};
    if (!ended) return std::unexpected(std::move(ended.error()));
    if (!*ended) return true;
  }
  return false;
}

// systemd's store does not outlive a boot.
result<bool> is_of_this_boot(snapshot const& left, kept_by where) {
  if (!left.boot.empty() && !boot_id().empty()) return left.boot == boot_id();
  return where == kept_by::store ? result<bool>(true) : is_still_running(left);
}

// Fails when only a moment keeps us from going on: who starts afresh parts with all that runs.
result<> read_memory(legacy& into, unique_fd memory, kept_by where) {
  auto bytes = enduring_memory::read(memory.get());
  if (!bytes && is_transient(bytes.error())) return std::unexpected(std::move(bytes.error()));
  auto left = bytes ? decode_snapshot(*bytes) : result<snapshot>(std::unexpected(bytes.error()));
  if (!left) {
    into.trouble = left.error().message();
    return {};
  }
  auto valid = is_of_this_boot(*left, where);
  if (!valid) return std::unexpected(std::move(valid.error()));
  if (!*valid) {
    into.trouble = "what the predecessor remembered is of an earlier boot";
  } else {
    into.left = std::move(*left);
    into.left->in_store = into.inherited.names();
    into.predecessor_died = true;
    // Of lines it is not known how much was read since: half of one is lost rather than put before another.
    for (auto& i : into.left->instances) i.output_partial.clear();
    into.inherited.add(memory_key, std::move(memory));
  }
  return {};
}

// The sockets that it had, by their cookies.
std::map<std::uint64_t, std::string> sockets_of(snapshot const& left) {
  std::map<std::uint64_t, std::string> all;
  auto add = [&](std::uint64_t cookie, descriptor_name const& name) {
    if (cookie != 0 && !name.empty()) all.emplace(cookie, name);
  };
  for (auto const& l : left.listeners.open) {
    add(l.cookie, l.socket);
    for (auto const& s : l.slots) add(s.cookie, s.socket);
  }
  for (auto const& one : left.listeners.unclaimed) add(one.key, one.descriptor);
  return all;
}

// What came from socket units: at each start again, also what the predecessor had already.
void sort_out(legacy& into, std::vector<named_descriptor> passed) {
  auto const known = into.left ? sockets_of(*into.left) : std::map<std::uint64_t, std::string>();
  for (auto& one : passed) {
    auto same = known.find(cookie_of(one.fd.get()));
    if (same == known.end())
      into.passed.push_back(std::move(one));
    else if (!into.inherited.has(same->second))
      into.inherited.add(same->second, std::move(one.fd));
  }
}

result<legacy> receive_from_store() {
  auto passed = service_manager::adopted_descriptors();
  if (!passed) return std::unexpected(std::move(passed.error()));
  legacy received;
  unique_fd memory;
  std::vector<named_descriptor> others;
  for (auto& one : *passed) {
    if (one.name == memory_name)
      memory = std::move(one.fd);
    else if (one.name.starts_with(store_prefix))
      received.inherited.add(one.name.substr(store_prefix.size()), std::move(one.fd));
    else
      others.push_back(std::move(one));
  }
  if (auto read = memory ? read_memory(received, std::move(memory), kept_by::store) : result<>(); !read)
    return std::unexpected(std::move(read.error()));
  sort_out(received, std::move(others));
  return received;
}

// What it says is done by whoever goes on.
result<bool> is_ours_alone(int file) {
  struct stat about{};
  if (::fstat(file, &about) < 0) return os_failure("asking whose it is");
  return S_ISREG(about.st_mode) && about.st_uid == ::geteuid() && (about.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// Killed while it stopped, when nobody is left to be waited for: whoever starts us wants the service.
result<bool> has_stopped(snapshot const& left) {
  if (left.state.lifecycle == lifecycle::running) return false;
  auto running = is_still_running(left);
  return running ? result<bool>(!*running) : running;
}

// Everybody of a service may be the only one to hold a listener: its first process, its main one, a worker.
result<std::vector<kept_process>> find_survivors(snapshot const& left, std::string const& notify_directory) {
  std::vector<kept_process> all = processes_in(left);
  std::vector<pid_t> known, sessions;
  for (auto const& p : all) known.push_back(p.pid);
  for (auto const& i : left.instances) sessions.push_back(i.launched.pid);
  auto members = find_members(known, sessions);
  if (!members) return std::unexpected(std::move(members.error()));
  known.insert(known.end(), members->begin(), members->end());
  auto carriers = find_carriers_of(known, "NOTIFY_SOCKET=" + notify_directory + "/");
  if (!carriers) return std::unexpected(std::move(carriers.error()));
  for (auto const& found : {*members, *carriers})
    for (pid_t pid : found) all.push_back({pid, start_time(pid), {}});
  return all;
}

// A map that is still open keeps its sockets from the one of another program.
void part_with_broken_programs(legacy& into) {
  for (auto const& l : into.left->listeners.open) {
    bool whole = std::ranges::all_of(l.program, [&](auto const& name) { return into.inherited.has(name); });
    for (auto const& name : l.program)
      if (!whole && into.inherited.take(name))
        (void)service_manager::forget(std::string(store_prefix) + name);
  }
}

}  // namespace

result<legacy> receive_legacy() {
  char const* by_exec = std::getenv(snapshot_variable);
  if (by_exec == nullptr) return receive_from_store();
  auto fd = descriptor_of(by_exec);
  ::unsetenv(snapshot_variable);
  if (!fd) return plain_failure(std::string(snapshot_variable) + " is no number of a descriptor");
  return receive_by_exec(*fd);
}

result<> find_legacy(legacy& into, std::string const& runtime_directory, std::string const& service) {
  std::string const file = memory_file(runtime_directory, service);
  unique_fd memory(::open(file.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!memory && errno == ENOENT) return {};
  if (!memory) return os_failure("opening " + file);
  auto ours = is_ours_alone(memory.get());
  if (!ours) return failure(std::move(ours.error()).during("looking at " + file));
  if (!*ours) {
    into.trouble = file + ": others may have written it";
    return {};
  }
  if (auto read = read_memory(into, std::move(memory), kept_by::file); !read) return read;
  if (!into.left) {
    into.trouble = file + ": " + into.trouble;
    return {};
  }
  auto stopped = has_stopped(*into.left);
  if (!stopped) return std::unexpected(std::move(stopped.error()));
  if (*stopped) {
    into.left.reset();
    into.predecessor_died = false;
    return {};
  }
  sort_out(into, std::exchange(into.passed, {}));
  return take_back_missing(into, runtime_directory);
}

result<> take_back_missing(legacy& into, std::string const& runtime_directory) {
  part_with_broken_programs(into);
  auto const wanted = sockets_of(*into.left);
  auto has = [&](auto const& socket) { return into.inherited.has(socket.second); };
  if (std::ranges::all_of(wanted, has)) return {};
  auto survivors = find_survivors(*into.left, notify_directory(runtime_directory, into.left->service));
  if (!survivors) return failure(std::move(survivors.error()).during("looking for who holds the listeners"));
  std::string kept_from_us;
  for (auto const& p : *survivors) {
    if (std::ranges::all_of(wanted, has)) return {};
    auto could = take_back_sockets(p.pid, p.started, wanted, into.inherited);
    if (!could) return std::unexpected(std::move(could.error()));
    if (!*could) kept_from_us = std::to_string(p.pid);
  }
  if (!kept_from_us.empty() && !std::ranges::all_of(wanted, has))
    into.missing = "a listener may be held by process " + kept_from_us +
                   ", from which nothing may be taken back: that needs CAP_SYS_PTRACE or the same user";
  return {};
}

std::string remembered_service(std::string const& runtime_directory, std::string const& configuration) {
  std::error_code unknown;
  for (std::filesystem::directory_iterator next(runtime_directory, unknown), end; !unknown && next != end;
       next.increment(unknown)) {
    if (!next->path().native().ends_with(memory_file_ending)) continue;
    unique_fd memory(::open(next->path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!memory || !is_ours_alone(memory.get()).value_or(false)) continue;
    auto bytes = enduring_memory::read(memory.get());
    auto left = bytes ? decode_snapshot(*bytes) : result<snapshot>(std::unexpected(bytes.error()));
    if (left && left->configuration == configuration) return left->service;
  }
  return {};
}

result<> try_snapshot(int fd) {
  auto bytes = read_all(fd, snapshot_bytes);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  auto left = decode_snapshot(*bytes);
  if (!left) return std::unexpected(std::move(left.error()));
  return {};
}

}  // namespace handoff
