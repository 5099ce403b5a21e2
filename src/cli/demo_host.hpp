// The two ways in which `handoff demo` brings a new version of its service into being.
#pragma once

#include <base/error.hpp>

#include <cli/demo_process.hpp>

#include <memory>
#include <string>

namespace handoff::cli {

class demo_host {
 public:
  virtual ~demo_host() = default;
  virtual result<> start() = 0;  // version 1 serves when this returns
  // Asks for the next version at once and returns when it is settled: serving, with the old one gone.
  virtual result<> upgrade(unsigned version) = 0;
};

// Stops the old version, then starts the new one: what a plain restart does.
std::unique_ptr<demo_host> naive_restarts(demo_programs const&, std::string directory, std::string address);

// Under handoffd; kill -HUP upgrades.
std::unique_ptr<demo_host> under_handoffd(demo_programs const&, std::string directory, std::string address);

}  // namespace handoff::cli
