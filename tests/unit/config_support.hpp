// What tests of configurations share: small files, and what a reading of them tells.
#pragma once

#include "paths.hpp"

#include <wire/config_toml.hpp>

#include <catch2/catch.hpp>

#include <fstream>
#include <iterator>
#include <string>

namespace handoff {

// A small valid configuration; `service` and `rest` go into [service] and behind the listener.
inline std::string with(std::string const& service, std::string const& rest = "") {
  return "[service]\nname = \"web\"\ncommand = [\"/bin/web\"]\n" + service +
         "\n[[listener]]\nname = \"http\"\naddress = \"0.0.0.0:80\"\n" + rest + "\n";
}
inline std::string with_listener(std::string const& listener) {
  return "[service]\nname = \"web\"\ncommand = [\"/bin/web\"]\n[[listener]]\n" + listener + "\n";
}

inline std::string told(std::string const& toml) {
  std::string text;
  for (auto const& problem : read_config(toml).problems) text += to_string(problem, "f") + "\n";
  return text;
}

inline settings good(std::string const& toml) {
  INFO(toml);
  auto reading = read_config(toml);
  INFO(told(toml));
  REQUIRE(reading.problems.empty());
  return reading.value;
}

inline std::string content(std::string const& path) {
  std::ifstream file(std::string(source_root) + "/" + path);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace handoff
