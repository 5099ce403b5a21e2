// The launch spec: whatever decodes is within its bounds, can be walked to its end, and has this one
// encoding.
#include <wire/launch_spec.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace handoff;
  // An exact copy on the heap, so that reading one byte too far is seen.
  auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> const exact(bytes.begin(), bytes.end());
  auto view = decode_launch(exact);
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
  require(again && std::ranges::equal(*again, exact));
  return 0;
}
