// Any bytes as /proc/PID/maps: what is read is bounded by them, and written again it reads the same.
#include "support.hpp"

#include <wire/process_maps.hpp>

#include <cstdio>

using namespace handoff;

namespace {

// As the kernel writes it.
std::string to_line(mapping const& m) {
  char fields[128];
  int size = std::snprintf(fields, sizeof fields, "%llx-%llx r-%cp 00000000 %02x:%02x %llu ",
                           static_cast<unsigned long long>(m.begin), static_cast<unsigned long long>(m.end),
                           m.executable ? 'x' : '-', m.file.device_major, m.file.device_minor,
                           static_cast<unsigned long long>(m.file.inode));
  std::string line(fields, static_cast<std::size_t>(size));
  for (char c : m.path) {
    if (c == '\n')
      line += "\\012";
    else
      line += c;
  }
  return m.deleted ? line + " (deleted)" : line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto text = as_text(data, size);
  std::size_t bytes = 0;
  for (mapping const& m : read_code_mappings(text)) {
    require(m.begin < m.end && m.executable && m.file.inode != 0 && m.path.starts_with('/'));
    mapping again;
    require(read_mapping(to_line(m), again) && again == m);
    bytes += m.path.size();
    require(find_mapped(to_line(m), m.begin) == m.file && find_mapped(to_line(m), m.end).inode == 0);
  }
  require(bytes <= size);
  return 0;
}
