#include "build_id.hpp"

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace handoff {

namespace {

constexpr std::size_t most_program_headers = 128;
constexpr std::size_t most_notes = 64 << 10;  // bytes of one note segment
constexpr std::size_t longest_build_id = 64;  // bytes; a SHA-1 has 20

bool read_exactly(int file, std::span<std::byte> room, ElfW(Off) offset) {
  return ::pread(file, room.data(), room.size(), static_cast<off_t>(offset)) ==
         static_cast<ssize_t>(room.size());
}

std::string to_hexadecimal(std::span<std::byte const> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::byte b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 0xF];
  }
  return text;
}

constexpr std::size_t padded(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

// Notes lie one behind the other: header, name, description, the latter two padded to 4 bytes (elf(5)).
std::string find_in_notes(std::span<std::byte const> notes) {
  constexpr std::array owner{'G', 'N', 'U', '\0'};
  ElfW(Nhdr) note;
  while (notes.size() >= sizeof note) {
    std::memcpy(&note, notes.data(), sizeof note);
    notes = notes.subspan(sizeof note);
    if (note.n_namesz > notes.size() || padded(note.n_namesz) > notes.size()) return {};
    auto name = notes.first(note.n_namesz);
    notes = notes.subspan(padded(note.n_namesz));
    if (note.n_descsz > notes.size()) return {};
    auto description = notes.first(note.n_descsz);
    bool is_ours = name.size() == owner.size() && std::memcmp(name.data(), owner.data(), owner.size()) == 0;
    if (note.n_type == NT_GNU_BUILD_ID && is_ours && description.size() <= longest_build_id) {
      return to_hexadecimal(description);
    }
    notes = notes.subspan(std::min(padded(note.n_descsz), notes.size()));
  }
  return {};
}

}  // namespace

std::string read_build_id(int file) {
  ElfW(Ehdr) header;
  constexpr int native_class = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (!read_exactly(file, std::as_writable_bytes(std::span(&header, 1)), 0)) return {};
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return {};
  if (header.e_ident[EI_CLASS] != native_class || header.e_phentsize != sizeof(ElfW(Phdr))) return {};
  std::vector<ElfW(Phdr)> segments(std::min<std::size_t>(header.e_phnum, most_program_headers));
  if (!read_exactly(file, std::as_writable_bytes(std::span(segments)), header.e_phoff)) return {};
  for (auto const& segment : segments) {
    if (segment.p_type != PT_NOTE || segment.p_filesz > most_notes) continue;
    std::vector<std::byte> notes(static_cast<std::size_t>(segment.p_filesz));
    if (!read_exactly(file, notes, segment.p_offset)) continue;
    if (auto found = find_in_notes(notes); !found.empty()) return found;
  }
  return {};
}

}  // namespace handoff
