// What instance_table knows of one instance. Its own header, because two of its files need it.
#pragma once

#include <handoffd/instance_table.hpp>

namespace handoff {

struct instance_table::running {
  instance_id id;
  process launched;                // what we started; its group and session are the instance's. Of one that
                                   // had ended when we adopted the other there is only the number
  std::optional<process> adopted;  // MAINPID=: another one is the service
  unique_fd channel;
  std::optional<std::string> launch_failure;
  bool failure_is_transient = false;
  std::unique_ptr<notify_socket> notify;
  std::unique_ptr<output_pipe> output;
  std::optional<generation_cgroup> cgroup;
  std::string status;
  bool is_strangers_child = false;  // its parent was our predecessor, and now is somebody else
  watch channel_watch, process_watch;
  watch collection_deadline;  // of an ended process that its parent has not collected

  process& main() { return adopted ? *adopted : launched; }
};

// Descendants that may have outlived their instance.
struct instance_table::remains {
  std::vector<std::string> variables;
  std::optional<generation_cgroup> cgroup;
  bool are_strangers_children = false;
};

// Of another supervisor on this machine, a service and its generations may well have the same names.
inline std::vector<std::string> generation_variables(surroundings const& around, generation_number g) {
  return {"HANDOFF_SUPERVISOR=" + around.control_socket, "HANDOFF_SERVICE=" + around.service,
          "HANDOFF_GENERATION=" + std::to_string(number(g))};
}

inline std::vector<std::string> identity_variables(surroundings const& around, instance_id const& id) {
  auto all = generation_variables(around, id.generation);
  all.push_back("HANDOFF_INSTANCE=" + std::to_string(id.index));
  all.push_back("HANDOFF_INCARNATION=" + std::to_string(id.incarnation));
  return all;
}

}  // namespace handoff
