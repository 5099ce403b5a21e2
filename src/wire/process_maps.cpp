#include "process_maps.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>
#include <set>
#include <tuple>

namespace handoff {

namespace {

// Takes a number in `base` and the one character behind it.
template <class Number>
bool take_number(std::string_view& text, int base, char behind, Number& number) {
  auto [end, failed] = std::from_chars(text.begin(), text.end(), number, base);
  if (failed != std::errc{} || end == text.end() || *end != behind) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.begin()) + 1);
  return true;
}

// The kernel writes a line end in a name as "\012", and nothing else in another way.
std::string with_line_ends(std::string_view text) {
  constexpr std::string_view escaped = "\\012";
  std::string plain;
  for (auto at = text.find(escaped); at != std::string_view::npos; at = text.find(escaped)) {
    plain.append(text.substr(0, at)).push_back('\n');
    text.remove_prefix(at + escaped.size());
  }
  return plain.append(text);
}

// "r-xp": readable, writable, executable, private or shared.
bool take_permissions(std::string_view& text, bool& executable) {
  constexpr std::size_t size = 4;
  if (text.size() <= size || text[size] != ' ') return false;
  executable = text[2] == 'x';
  text.remove_prefix(size + 1);
  return true;
}

bool holds_code(mapping const& m) {
  constexpr std::array<std::string_view, 7> other_memory{"/memfd:", "/SYSV",          "/[aio]",     "/dev/",
                                                         "/drm",    "/anon_hugepage", "/anon_inode"};
  return m.executable && m.file.inode != 0 && m.path.starts_with('/') &&
         std::ranges::none_of(other_memory, [&](auto prefix) { return m.path.starts_with(prefix); });
}

}  // namespace

bool read_mapping(std::string_view line, mapping& read) {
  constexpr std::string_view mark = " (deleted)";
  mapping m;
  std::uint64_t offset = 0;
  if (!take_number(line, 16, '-', m.begin) || !take_number(line, 16, ' ', m.end) || m.begin >= m.end ||
      !take_permissions(line, m.executable) || !take_number(line, 16, ' ', offset) ||
      !take_number(line, 16, ':', m.file.device_major) || !take_number(line, 16, ' ', m.file.device_minor))
    return false;
  auto [end, failed] = std::from_chars(line.begin(), line.end(), m.file.inode);
  if (failed != std::errc{} || (end != line.end() && *end != ' ')) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.begin()));
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  m.deleted = m.file.inode != 0 && line.ends_with(mark);
  if (m.deleted) line.remove_suffix(mark.size());
  m.path = with_line_ends(line);
  read = std::move(m);
  return true;
}

std::vector<mapping> read_code_mappings(std::string_view maps) {
  std::vector<mapping> found;
  std::set<std::tuple<mapped_identity, std::string, bool>> known;
  for (auto piece : std::views::split(maps, '\n')) {
    mapping m;
    if (!read_mapping({piece.begin(), piece.end()}, m) || !holds_code(m)) continue;
    if (known.emplace(m.file, m.path, m.deleted).second) found.push_back(std::move(m));
  }
  return found;
}

mapped_identity find_mapped(std::string_view maps, std::uint64_t address) {
  for (auto piece : std::views::split(maps, '\n')) {
    mapping m;
    if (read_mapping({piece.begin(), piece.end()}, m) && m.begin <= address && address < m.end) return m.file;
  }
  return {};
}

}  // namespace handoff
