// The launcher's end of the conversation: what handoffd handed over, checked message by message.
#pragma once

#include <os/launch_conversation.hpp>
#include <wire/launch_view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace handoff {

// All that came by SCM_RIGHTS, close-on-exec still. -1: did not come.
struct handed_over {
  int channel = launch_conversation::channel;
  int spec = -1;
  int executable = -1;
  int output = -1;
  int cgroup = -1;
  std::uint32_t listeners = 0;
  std::array<int, launch_conversation::most_listeners> listener{};
};

// Takes all messages, which wait in the channel already. 0, or an errno: EBADMSG for a message that is not as
// agreed (or is missing), EPROTONOSUPPORT for another version, EMFILE when descriptors did not fit.
int receive(handed_over&) noexcept;

// Maps the spec, which must be sealed: nobody can change or cut it while we read. 0, or an errno.
int map_spec(int descriptor, std::span<std::byte const>& bytes) noexcept;

// True when the spec asks for exactly the descriptors that came.
bool agrees(launch_view const&, handed_over const&) noexcept;

// True when handoffd ended and has noted nowhere that there will be this service.
bool is_abandoned(int channel) noexcept;

// Tells handoffd which step failed, and ends. Started by hand there is nobody to tell, so a person is told.
[[noreturn]] void give_up(int channel, launch_stage, int error_number) noexcept;

}  // namespace handoff
