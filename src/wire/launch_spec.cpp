#include "launch_spec.hpp"

#include <algorithm>
#include <cstring>

namespace handoff {

namespace {

void append(std::vector<std::byte>& out, void const* from, std::size_t size) {
  auto const* bytes = static_cast<std::byte const*>(from);
  out.insert(out.end(), bytes, bytes + size);
}

void append(std::vector<std::byte>& out, std::string const& string) {
  append(out, string.c_str(), string.size() + 1);
}

bool holds_nul(std::string const& string) { return string.find('\0') != std::string::npos; }

// What is wrong with a spec, or nullptr.
char const* fault_of(launch_spec const& spec) {
  if (spec.arguments.empty()) return "there is no command";
  if (std::ranges::any_of(spec.arguments, holds_nul)) return "an argument holds a NUL";
  if (std::ranges::any_of(spec.environment, holds_nul)) return "an environment variable holds a NUL";
  if (holds_nul(spec.executable_path) || holds_nul(spec.working_directory)) return "a path holds a NUL";
  if (spec.listeners > launch_bound::listeners) return "too many listeners";
  if (spec.groups.size() > launch_bound::groups) return "too many groups";
  if (spec.limits.size() > launch_bound::limits) return "too many limits";
  if (!spec.user && !spec.groups.empty()) return "supplementary groups without a user";
  if (spec.umask && *spec.umask > 0777) return "the umask is not between 0 and 0777";
  if (spec.by_descriptor && !spec.has_executable) return "no descriptor to run";
  if (!spec.by_descriptor && spec.executable_path.empty()) return "no executable to run";
  return nullptr;
}

std::uint32_t flags_of(launch_spec const& spec) {
  std::uint32_t flags = 0;
  auto set = [&](bool present, std::uint32_t flag) { flags |= present ? flag : 0U; };
  set(spec.by_descriptor, launch_flag::by_descriptor);
  set(spec.has_executable, launch_flag::has_executable);
  set(spec.has_output, launch_flag::has_output);
  set(spec.has_cgroup, launch_flag::has_cgroup);
  set(spec.null_input, launch_flag::null_input);
  set(spec.no_new_privileges, launch_flag::no_new_privileges);
  set(spec.user.has_value(), launch_flag::user);
  set(spec.group.has_value(), launch_flag::group);
  set(spec.umask.has_value(), launch_flag::umask);
  set(spec.nice.has_value(), launch_flag::nice);
  set(spec.oom_score_adjust.has_value(), launch_flag::oom_score_adjust);
  return flags;
}

launch_header header_of(launch_spec const& spec) {
  launch_header h;
  h.ambient_capabilities = spec.ambient_capabilities;
  h.flags = flags_of(spec);
  h.listeners = spec.listeners;
  h.user = spec.user.value_or(0);
  h.group = spec.group.value_or(0);
  h.umask = spec.umask.value_or(0);
  h.nice = spec.nice.value_or(0);
  h.oom_score_adjust = spec.oom_score_adjust.value_or(0);
  h.arguments = static_cast<std::uint32_t>(spec.arguments.size());
  h.environment = static_cast<std::uint32_t>(spec.environment.size());
  h.groups = static_cast<std::uint32_t>(spec.groups.size());
  h.limits = static_cast<std::uint32_t>(spec.limits.size());
  return h;
}

// Summed before anything is copied, so that an absurd spec costs nothing.
std::size_t size_of(launch_spec const& spec) {
  std::size_t size = sizeof(launch_header) + spec.limits.size() * sizeof(launch_limit_record) +
                     spec.groups.size() * sizeof(std::uint32_t) + spec.executable_path.size() + 1 +
                     spec.working_directory.size() + 1;
  for (auto const& argument : spec.arguments) size += argument.size() + 1;
  for (auto const& variable : spec.environment) size += variable.size() + 1;
  return size;
}

std::vector<std::string> copy_of(launch_strings strings) {
  std::vector<std::string> copies;
  char const* string = strings.first;
  for (std::uint32_t i = 0; i < strings.count; ++i, string = next_string(string)) copies.emplace_back(string);
  return copies;
}

std::string name_of_errno(int error_number) {
  char const* name = strerrorname_np(error_number);
  char const* description = strerrordesc_np(error_number);
  if (name == nullptr || description == nullptr) return "errno " + std::to_string(error_number);
  return std::string(name) + " (" + description + ")";
}

}  // namespace

result<std::vector<std::byte>> encode_launch(launch_spec const& spec) {
  std::string const doing = "describing a launch: ";
  if (char const* fault = fault_of(spec)) return plain_failure(doing + fault);
  launch_header h = header_of(spec);
  h.bytes = size_of(spec);
  if (h.bytes > launch_bound::bytes) return plain_failure(doing + "arguments and environment are too long");

  std::vector<std::byte> out;
  out.reserve(static_cast<std::size_t>(h.bytes));
  append(out, &h, sizeof h);
  for (auto const& limit : spec.limits) {
    launch_limit_record record{limit.resource, 0, limit.soft, limit.hard};
    append(out, &record, sizeof record);
  }
  append(out, spec.groups.data(), spec.groups.size() * sizeof(std::uint32_t));
  append(out, spec.executable_path);
  append(out, spec.working_directory);
  for (auto const& argument : spec.arguments) append(out, argument);
  for (auto const& variable : spec.environment) append(out, variable);
  // The launcher's own reader has the last word on what is a valid spec.
  if (!decode_launch(out)) return plain_failure(doing + "a user or group number is out of range");
  return out;
}

launch_spec to_spec(launch_view const& view) {
  launch_spec spec;
  launch_header const& h = view.header;
  spec.arguments = copy_of(view.arguments);
  spec.environment = copy_of(view.environment);
  spec.executable_path = view.executable_path;
  spec.working_directory = view.working_directory;
  spec.by_descriptor = view.has(launch_flag::by_descriptor);
  spec.has_executable = view.has(launch_flag::has_executable);
  spec.has_output = view.has(launch_flag::has_output);
  spec.has_cgroup = view.has(launch_flag::has_cgroup);
  spec.null_input = view.has(launch_flag::null_input);
  spec.no_new_privileges = view.has(launch_flag::no_new_privileges);
  spec.listeners = h.listeners;
  if (view.has(launch_flag::user)) spec.user = h.user;
  if (view.has(launch_flag::group)) spec.group = h.group;
  if (view.has(launch_flag::umask)) spec.umask = h.umask;
  if (view.has(launch_flag::nice)) spec.nice = h.nice;
  if (view.has(launch_flag::oom_score_adjust)) spec.oom_score_adjust = h.oom_score_adjust;
  for (std::uint32_t i = 0; i < h.groups; ++i) spec.groups.push_back(view.group(i));
  for (std::uint32_t i = 0; i < h.limits; ++i) spec.limits.push_back(view.limit(i));
  spec.ambient_capabilities = h.ambient_capabilities;
  return spec;
}

std::string_view to_string(launch_stage stage) {
  switch (stage) {
    case launch_stage::conversation:
      return "conversation";
    case launch_stage::descriptors:
      return "descriptors";
    case launch_stage::session:
      return "session";
    case launch_stage::cgroup:
      return "cgroup";
    case launch_stage::limits:
      return "limits";
    case launch_stage::priority:
      return "priority";
    case launch_stage::directory:
      return "working directory";
    case launch_stage::identity:
      return "identity";
    case launch_stage::capabilities:
      return "capabilities";
    case launch_stage::output:
      return "output";
    case launch_stage::exec:
      return "exec";
  }
  return "unknown stage";
}

std::string describe_launch_failure(std::uint8_t stage, int error_number) {
  return std::string(to_string(static_cast<launch_stage>(stage))) + ": " + name_of_errno(error_number);
}

}  // namespace handoff
