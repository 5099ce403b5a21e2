#include "steering.hpp"

#include <os/launch.hpp>
#include <os/steering_program.h>

#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

namespace handoff {

namespace {

constexpr std::uint32_t most_cpus = 8192;  // that Linux can be built for

failure bpf_failure(std::string doing, int negative_errno) {
  return os_failure(std::move(doing), -negative_errno);
}

// Maps for each CPU are as long as there may ever be CPUs, "0-7" in this file (cputopology of the kernel's
// documentation). Room for too many does no harm, room for too few would be overrun.
std::uint32_t possible_cpus() {
  std::string text;
  std::getline(std::ifstream("/sys/devices/system/cpu/possible"), text);
  std::string_view last = text;
  last.remove_prefix(last.find_last_of(",-") == std::string_view::npos ? 0 : last.find_last_of(",-") + 1);
  std::uint32_t highest = 0;
  auto [end, status] = std::from_chars(last.data(), last.data() + last.size(), highest);
  bool understood = status == std::errc() && end == last.data() + last.size() && highest < most_cpus;
  return understood ? highest + 1 : most_cpus;
}

std::vector<steering_count> room_for_counts() {
  static std::uint32_t const cpus = possible_cpus();
  return std::vector<steering_count>(cpus);
}

}  // namespace

result<steering> steering::create(socket_type type) {
  steering_program loaded{};
  int status = steering_program_load(type == socket_type::datagram ? most_flows : 1, &loaded);
  if (status < 0) return bpf_failure("loading the steering program", status);
  steering made;
  made.program_ = unique_fd(loaded.program);
  made.id_ = steering_program_id(loaded.program);
  made.sockets_ = unique_fd(loaded.sockets);
  made.pages_ = unique_fd(loaded.pages);
  made.current_ = unique_fd(loaded.current);
  made.counts_ = unique_fd(loaded.counts);
  made.flows_ = unique_fd(loaded.flows);
  steering_page nobody{.layout = steering_layout_version,
                       .fallback = steering_slots,
                       .connection_id_byte = steering_no_connection_id};
  if (auto empty = made.apply(nobody); !empty) return std::unexpected(std::move(empty).error());
  return made;
}

result<> steering::attach(int fd) const {
  int program = program_.get();
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof program) < 0) {
    return os_failure("attaching the steering program");
  }
  return {};
}

result<> steering::place(std::uint32_t slot, int fd) {
  std::uint64_t value = static_cast<std::uint64_t>(fd);
  int status = steering_map_write(sockets_.get(), slot, &value);
  if (status < 0) return bpf_failure("placing it in slot " + std::to_string(slot), status);
  return {};
}

result<bool> steering::is_placed(std::uint32_t slot) const {
  std::uint64_t cookie = 0;
  int status = steering_map_read(sockets_.get(), slot, &cookie);
  if (status < 0 && status != -ENOENT)
    return bpf_failure("asking whether slot " + std::to_string(slot) + " is empty", status);
  return status == 0;
}

result<> steering::clear(std::uint32_t slot) {
  int status = steering_map_erase(sockets_.get(), slot);
  if (status < 0 && status != -ENOENT) return bpf_failure("emptying slot " + std::to_string(slot), status);
  return {};
}

result<> steering::reset_counts(std::uint32_t slot) {
  int status = steering_map_write(counts_.get(), slot, room_for_counts().data());
  if (status < 0) return bpf_failure("resetting the counts of slot " + std::to_string(slot), status);
  return {};
}

result<> steering::apply(steering_page const& page) {
  std::uint32_t next = (page_ + 1) % steering_pages;
  int status = steering_map_write(pages_.get(), next, &page);
  if (status == 0) status = steering_map_write(current_.get(), 0, &next);
  if (status < 0) return bpf_failure("writing how traffic is divided", status);
  page_ = next;
  return {};
}

result<slot_counts> steering::counts(std::uint32_t slot) const {
  auto of_cpus = room_for_counts();
  int status = steering_map_read(counts_.get(), slot, of_cpus.data());
  if (status < 0) return bpf_failure("reading the counts of slot " + std::to_string(slot), status);
  slot_counts sum;
  std::uint64_t last = 0;
  for (auto const& c : of_cpus) {
    sum.connections += c.connections;
    sum.datagrams += c.datagrams;
    sum.migrations += c.migrations;
    last = std::max<std::uint64_t>(last, c.last_datagram_ns);
  }
  if (last != 0) {
    auto since_boot = std::chrono::nanoseconds(last);  // the steady clock's beginning as well
    sum.last_datagram = instant(std::chrono::duration_cast<duration>(since_boot));
  }
  return sum;
}

std::array<int, steering::descriptor_count> steering::descriptors() const {
  return {program_.get(), sockets_.get(), pages_.get(), current_.get(), counts_.get(), flows_.get()};
}

result<steering> steering::adopt(std::array<unique_fd, descriptor_count> descriptors) {
  auto& [program, sockets, pages, current, counts, flows] = descriptors;
  steering_program left{program.get(), sockets.get(), pages.get(), current.get(), counts.get(), flows.get()};
  if (int status = steering_program_check(&left); status < 0)
    return bpf_failure("adopting a steering program and its maps", status);
  steering_page page{};
  std::uint32_t which = 0;
  int status = steering_map_read(left.current, 0, &which);
  if (status == 0) status = steering_map_read(left.pages, which, &page);
  if (status < 0) return bpf_failure("reading how an adopted steering program divides traffic", status);
  if (page.layout != steering_layout_version)
    return plain_failure("the adopted steering program has layout " + std::to_string(page.layout) +
                         ", this handoffd knows " + std::to_string(steering_layout_version));
  steering adopted;
  adopted.id_ = steering_program_id(program.get());
  adopted.program_ = std::move(program);
  adopted.sockets_ = std::move(sockets);
  adopted.pages_ = std::move(pages);
  adopted.current_ = std::move(current);
  adopted.counts_ = std::move(counts);
  adopted.flows_ = std::move(flows);
  adopted.page_ = which;
  return adopted;
}

namespace {

result<> try_steering() {
  auto program = steering::create(socket_type::stream);
  if (!program) return std::unexpected(std::move(program).error());
  // An unbound socket will do: it gets a group of its own.
  unique_fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) socket = unique_fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) {
    return os_failure("making a socket to attach it to");
  }
  return program->attach(socket.get());
}

}  // namespace

steering_support const& can_steer() {
  static std::optional<steering_support> known;
  if (known) return *known;
  auto tried = try_steering();
  static steering_support now;
  now = tried ? steering_support{true, {}}
              : steering_support{false,
                                 tried.error().message() +
                                     " (needs CAP_BPF and CAP_PERFMON, or root, and Linux 5.14 or later)"};
  // What is missing for a moment may be there when it is asked for next.
  if (tried || !is_transient(tried.error())) known = now;
  return now;
}

}  // namespace handoff
