#include "launch_view.hpp"

#include <cerrno>
#include <cstring>

namespace handoff {

namespace {

// Takes pieces off the front of the bytes; once it ran out it stays failed.
class reader {
 public:
  explicit reader(std::span<std::byte const> bytes) noexcept : rest_(bytes) {}

  std::byte const* take(std::uint64_t count, std::size_t size) noexcept {
    if (count > rest_.size() / size) return fail();
    auto taken = rest_.first(static_cast<std::size_t>(count) * size);
    rest_ = rest_.subspan(taken.size());
    return taken.data();
  }

  launch_strings take_strings(std::uint32_t count) noexcept {
    auto const* first = reinterpret_cast<char const*>(rest_.data());
    for (std::uint32_t i = 0; i < count; ++i) {
      void const* end = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
      if (end == nullptr) {
        fail();
        return {};
      }
      auto length = static_cast<std::size_t>(static_cast<std::byte const*>(end) - rest_.data());
      rest_ = rest_.subspan(length + 1);
    }
    return {first, count};
  }

  bool is_done() const noexcept { return !failed_ && rest_.empty(); }

 private:
  std::byte const* fail() noexcept {
    failed_ = true;
    rest_ = {};
    return nullptr;
  }

  std::span<std::byte const> rest_;
  bool failed_ = false;
};

constexpr std::uint32_t nobody_at_all = UINT32_MAX;  // means "leave as it is" to setresuid(2)

// A value without its flag is zero, so that a spec has one encoding only.
bool is_canonical(launch_header const& h) noexcept {
  auto absent = [&](std::uint32_t flag) { return (h.flags & flag) == 0; };
  if (absent(launch_flag::user) && (h.user != 0 || h.groups != 0)) return false;
  if (absent(launch_flag::group) && h.group != 0) return false;
  if (absent(launch_flag::umask) && h.umask != 0) return false;
  if (absent(launch_flag::nice) && h.nice != 0) return false;
  if (absent(launch_flag::oom_score_adjust) && h.oom_score_adjust != 0) return false;
  return h.reserved == 0;
}

bool is_in_bounds(launch_header const& h) noexcept {
  if ((h.flags & ~launch_flag::all) != 0) return false;
  if ((h.flags & launch_flag::by_descriptor) != 0 && (h.flags & launch_flag::has_executable) == 0)
    return false;
  if (h.user == nobody_at_all || h.group == nobody_at_all || h.umask > 0777) return false;
  return h.listeners <= launch_bound::listeners && h.groups <= launch_bound::groups &&
         h.limits <= launch_bound::limits && h.arguments >= 1;
}

}  // namespace

char const* next_string(char const* string) noexcept { return string + std::strlen(string) + 1; }

launch_limit launch_view::limit(std::uint32_t index) const noexcept {
  launch_limit_record record;
  std::memcpy(&record, limits + index * sizeof record, sizeof record);
  return {record.resource, record.soft, record.hard};
}

std::uint32_t launch_view::group(std::uint32_t index) const noexcept {
  std::uint32_t id = 0;
  std::memcpy(&id, groups + index * sizeof id, sizeof id);
  return id;
}

std::expected<launch_view, int> decode_launch(std::span<std::byte const> bytes) noexcept {
  auto const garbled = std::unexpected(EBADMSG);
  launch_view view;
  launch_header& h = view.header;
  if (bytes.size() < sizeof h || bytes.size() > launch_bound::bytes) return garbled;
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.magic != launch_header::expected_magic) return garbled;
  if (h.version != launch_header::expected_version) return std::unexpected(EPROTONOSUPPORT);
  if (h.bytes != bytes.size() || !is_in_bounds(h) || !is_canonical(h)) return garbled;

  reader rest(bytes.subspan(sizeof h));
  view.limits = rest.take(h.limits, sizeof(launch_limit_record));
  view.groups = rest.take(h.groups, sizeof(std::uint32_t));
  view.executable_path = rest.take_strings(1).first;
  view.working_directory = rest.take_strings(1).first;
  view.arguments = rest.take_strings(h.arguments);
  view.environment = rest.take_strings(h.environment);
  if (!rest.is_done()) return garbled;

  for (std::uint32_t i = 0; i < h.limits; ++i) {
    launch_limit_record record;
    std::memcpy(&record, view.limits + i * sizeof record, sizeof record);
    if (record.reserved != 0) return garbled;
  }
  if (*view.executable_path == '\0' && !view.has(launch_flag::by_descriptor)) return garbled;
  return view;
}

}  // namespace handoff
