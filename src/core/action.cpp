#include "action.hpp"

namespace handoff {

std::string_view to_string(fact_kind kind) {
  constexpr std::string_view names[] = {"queued",
                                        "started",
                                        "stage",
                                        "serving",
                                        "holding",
                                        "weighted",
                                        "paused",
                                        "resumed",
                                        "verdict",
                                        "settled",
                                        "instance_started",
                                        "instance_ready",
                                        "instance_exited",
                                        "instance_restarting",
                                        "instance_killed",
                                        "draining",
                                        "standby",
                                        "gone",
                                        "degraded",
                                        "recovered",
                                        "listener_reopened",
                                        "steering_restored",
                                        "note",
                                        "stopping"};
  return names[static_cast<std::size_t>(kind)];
}

}  // namespace handoff
