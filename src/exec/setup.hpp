// What the launcher does to itself before it becomes the service: one function a step, in the order of
// `steps`.
//
// Each returns 0 or the errno of what failed. None allocates, and none opens a descriptor once limits hold.
#pragma once

#include <wire/launch_view.hpp>

#include <exec/conversation.hpp>

namespace handoff {

struct launch_order {
  launch_view view;
  handed_over handed;
};

struct setup_step {
  launch_stage stage;
  int (*take)(launch_order&) noexcept;
};

// Listeners from 3 on, everything else that is not 0, 1, 2 close-on-exec.
int lay_out_descriptors(launch_order&) noexcept;
int begin_session(launch_order&) noexcept;
int enter_cgroup(launch_order&) noexcept;
// stdin, stdout and stderr.
int connect_output(launch_order&) noexcept;
// nice and the OOM score: while we still may.
int set_priority(launch_order&) noexcept;
// Limits and the umask.
int set_limits(launch_order&) noexcept;
int change_identity(launch_order&) noexcept;
// Ambient capabilities, and no_new_privs.
int set_capabilities(launch_order&) noexcept;
// As the new user, who may see less than we did.
int enter_directory(launch_order&) noexcept;

constexpr setup_step steps[] = {
    {launch_stage::descriptors, lay_out_descriptors},
    {launch_stage::session, begin_session},
    {launch_stage::cgroup, enter_cgroup},
    {launch_stage::output, connect_output},
    {launch_stage::priority, set_priority},
    {launch_stage::limits, set_limits},
    {launch_stage::identity, change_identity},
    {launch_stage::capabilities, set_capabilities},
    {launch_stage::directory, enter_directory},
};

}  // namespace handoff
