#pragma once

namespace handoff {

// Takes handoffd's order from the channel and becomes the service, or tells handoffd why not and ends.
[[noreturn]] void launch() noexcept;

}  // namespace handoff
