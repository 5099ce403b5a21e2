// Strangers' bytes as a call and as a reply: whatever is read prints to bytes that read the same, and
// whatever is answered is one well-formed message.
#include "support.hpp"

#include <wire/varlink.hpp>

using namespace handoff::varlink;

namespace {

std::string_view message_in(std::string const& bytes) {
  require(!bytes.empty() && bytes.find('\0') == bytes.size() - 1);
  return std::string_view(bytes).substr(0, bytes.size() - 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto message = as_text(data, size);
  // Printing may lengthen a number beyond the limit: 1e9 becomes 1000000000.0.
  bool short_enough = size <= call_limit / 16;

  if (auto read = read_call(message); read && short_enough) {
    auto again = read_call(message_in(to_bytes(*read)));
    require(again && *again == *read);
  }
  if (auto read = read_reply(message); read && short_enough) {
    auto again = read_reply(message_in(to_bytes(*read)));
    require(again && *again == *read);
  }
  auto got = receive(message, {}, supervisor_interface());
  if (auto const* reached = std::get_if<call>(&got)) {
    require(reached->method.find('.') == std::string::npos);
  } else if (auto const& done = std::get<answered>(got); !done.bytes.empty()) {
    require(read_reply(message_in(done.bytes)).has_value());
  }
  return 0;
}
