// Snapshots: whatever decodes can be written, and reads as the same snapshot again.
#include "support.hpp"

#include <wire/snapshot.hpp>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace handoff;
  auto read = decode_snapshot(as_text(data, size));
  if (!read) {
    require(!read.error().message().empty());
    return 0;
  }
  auto written = encode_snapshot(*read);
  require(written.has_value());
  auto again = decode_snapshot(*written);
  require(again && encode_snapshot(*again) == *written);
  return 0;
}
