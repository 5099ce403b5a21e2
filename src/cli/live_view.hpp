// What one supervisor does right now, as a picture of few lines: who has which part of the traffic and how
// much comes to whom, and where in its plan the rollout is.
#pragma once

#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace handoff::cli {

class live_view {
 public:
  // Remembers what was counted, so that the next picture can tell how fast it grows. At most `rows` lines.
  std::vector<std::string> draw(supervisor const&, json const& status, stream const& to, std::size_t rows);

 private:
  // What steered listeners counted for one generation; nothing where nobody counts.
  struct tally {
    std::optional<std::int64_t> connections;
    std::optional<std::int64_t> datagrams;
  };
  struct rate {
    double connections = 0;  // a second
    double datagrams = 0;
  };

  static std::map<std::int64_t, tally> count(json const& status);
  void measure(std::map<std::int64_t, tally> const&);
  std::vector<std::string> generations(json const& status, stream const& to) const;

  std::map<std::int64_t, tally> counted_;
  instant counted_at_{};
  std::map<std::int64_t, rate> rates_;
};

}  // namespace handoff::cli
