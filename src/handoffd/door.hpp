// One listener, however the generations of the service share it: all hold the same socket, or each has a slot
// of its own, by one program or the other. Which of the three is chosen once, when it is opened.
#pragma once

#include <app/records.hpp>
#include <os/listener.hpp>
#include <os/sharing.hpp>
#include <os/steered_listener.hpp>

#include <memory>
#include <optional>
#include <string>

namespace handoff {

class door {
 public:
  // `why`: it is shared, or not steered by eBPF.
  door(listener shared, std::string why) : shared_(std::move(shared)), why_(std::move(why)) {}
  door(std::unique_ptr<steered_listener> steered, std::string why)
      : steered_(std::move(steered)), why_(std::move(why)) {}

  listener_settings const& settings() const { return shared_ ? shared_->settings() : steered_->settings(); }
  std::string const& name() const { return settings().name; }

  // What a generation is passed. It has a slot, where there are slots.
  int fd(generation_number) const;

  steered_listener* steered() { return steered_.get(); }
  steered_listener const* steered() const { return steered_.get(); }
  bool is_steered() const { return steered_ != nullptr; }
  listener* shared() { return shared_ ? &*shared_ : nullptr; }
  listener const* shared() const { return shared_ ? &*shared_ : nullptr; }
  std::string const& why() const { return why_; }  // it is shared, or not steered by eBPF
  std::string why_shared() const { return is_steered() ? std::string() : why_; }

  // Services override the backlog.
  result<> restore_backlog(std::uint32_t backlog);

  observed_listener observe(std::vector<generation_number> const& generations) const;

 private:
  std::optional<listener> shared_;
  std::unique_ptr<steered_listener> steered_;  // one of the two
  std::string why_;
};

}  // namespace handoff
