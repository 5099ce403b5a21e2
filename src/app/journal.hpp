// The log: one line for each thing that happened. The only user of spdlog. A log that cannot be written
// degrades; nothing waits for it and nothing fails because of it.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace handoff {

class journal {
 public:
  // To `where.file`, or to standard error: with priorities when that is systemd's journal, else with times.
  static result<std::unique_ptr<journal>> open(std::string const& service, log_settings const& where);
  ~journal();

  void write(log_level level, std::string_view line);
  // Another level, another file. Keeps the old file when the new one cannot be opened.
  result<> follow(log_settings const& where);

  // After the file was renamed away. Keeps the old one when the new one cannot be opened.
  result<> reopen();

 private:
  struct state;
  result<> open_again();
  explicit journal(std::unique_ptr<state>);
  std::unique_ptr<state> state_;
};

}  // namespace handoff
