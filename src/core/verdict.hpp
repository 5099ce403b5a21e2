// How a rollout ended. One value, told alike in the exit code, the log, the status, the history and to
// systemd.
#pragma once

#include <string>
#include <string_view>

namespace handoff {

enum class verdict_kind { promoted, rolled_back, refused };

struct verdict {
  verdict_kind kind = verdict_kind::promoted;
  std::string reason;  // empty when promoted

  bool operator==(verdict const&) const = default;
};

constexpr std::string_view to_string(verdict_kind kind) {
  switch (kind) {
    case verdict_kind::promoted:
      return "promoted";
    case verdict_kind::rolled_back:
      return "rolled-back";
    case verdict_kind::refused:
      return "refused";
  }
  return "unknown";
}

// "promoted", "rolled-back(exited 1 before ready)", "refused(line 12: …)".
inline std::string to_string(verdict const& v) {
  std::string text{to_string(v.kind)};
  return v.kind == verdict_kind::promoted ? text : text + "(" + v.reason + ")";
}

}  // namespace handoff
