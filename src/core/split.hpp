// How the traffic of steered listeners is divided among generations: a function of the state.
#pragma once

#include <core/ids.hpp>
#include <core/settings.hpp>

#include <vector>

namespace handoff {

struct state;

struct share {
  generation_number generation{};
  handoff::weight weight{};
  bool operator==(share const&) const = default;
};

// Clients of a network always go to one generation.
struct routed_network {
  network from;
  generation_number to{};
  bool operator==(routed_network const&) const = default;
};

struct traffic_split {
  generation_number fallback{};        // takes what migrates, and what an absent slot would have got
  std::vector<share> shares;           // their weights add up to full_weight; empty: nobody serves yet
  std::vector<routed_network> routes;  // the first that matches decides
  bool sticky = false;                 // by the client's address, not by connection
  bool operator==(traffic_split const&) const = default;
};

traffic_split split_of(state const&);

}  // namespace handoff
