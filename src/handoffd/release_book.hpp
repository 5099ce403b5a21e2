// The configuration as it is now, and the releases that were made from what it was: one for each generation
// that runs or can be rolled back to.
#pragma once

#include <core/event.hpp>
#include <core/ports.hpp>
#include <core/settings.hpp>

#include <handoffd/configuration_file.hpp>
#include <handoffd/listener_table.hpp>
#include <handoffd/release.hpp>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace handoff {

// Why rollouts and probes cannot be as configured, with listeners as they are; empty when they can.
std::string why_not(settings const&, listener_table const&, std::vector<named_listener> const&);

class inherited_descriptors;
class manifest;
struct snapshot;

class release_book final : public release_store {
 public:
  using post = std::function<void(happening)>;
  using changed = std::function<void(settings const&)>;  // the operator's part may be another

  release_book(std::string path, settings first, listener_table&, post, changed);

  // For a successor; and what a successor does first.
  void keep(snapshot&, manifest&) const;
  result<> adopt(snapshot const&, inherited_descriptors&);

  void prepare(act::prepare const&) override;
  void forget(generation_number) override;

  // Applies what belongs to the operator. Returns the names of the sections that changed; the engine answers
  // the request when it is remembered.
  struct refusal {
    std::string reason;
    problems invalid;  // or these
  };
  std::expected<std::vector<std::string>, refusal> reload(request_number);

  // What the file says now, in force or not.
  std::expected<settings, problems> read() { return file_.read(); }

  // Why an upgrade to these settings would be refused, valid as they are.
  std::optional<std::string> objection_to(settings const&) const;

  release const* find(generation_number) const;
  settings const& current() const { return current_; }
  std::map<generation_number, observed_generation> observe() const;
  // What an operator should know about the files behind the releases; and whether the operator's is that of
  // `live`.
  std::vector<std::string> notes(std::optional<generation_number> live) const;

 private:
  std::expected<release, verdict> make_from_file(act::prepare const&);
  void add(act::prepare const&, release);
  bool has_diverged(release const&) const;  // from what was read last

  configuration_file file_;
  settings current_;
  listener_table& listeners_;
  post post_;
  changed changed_;
  std::map<generation_number, release> releases_;
};

}  // namespace handoff
