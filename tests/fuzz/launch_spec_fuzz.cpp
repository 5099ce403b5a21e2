// The launch spec: whatever decodes is within its bounds, can be walked to its end, and has this one
// encoding.
#include "support.hpp"

#include <wire/launch_spec.hpp>

#include <algorithm>
#include <cerrno>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace handoff;
  auto bytes = std::as_bytes(std::span(data, size));
  auto view = decode_launch(bytes);
  if (!view) {
    require(view.error() == EBADMSG || view.error() == EPROTONOSUPPORT);
    return 0;
  }
  launch_spec spec = to_spec(*view);
  require(!spec.arguments.empty() && spec.arguments.size() == view->header.arguments);
  require(spec.environment.size() == view->header.environment);
  require(spec.listeners <= launch_bound::listeners && spec.groups.size() <= launch_bound::groups);
  require(!spec.by_descriptor || spec.has_executable);
  auto again = encode_launch(spec);
  require(again && std::ranges::equal(*again, bytes));
  return 0;
}
