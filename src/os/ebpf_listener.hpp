// A steered listener with the eBPF program.
//
// The group begins with the anchor, a member that is in no slot and is passed to nobody. It holds the address
// open, catches what comes while no slot is present, and is the way to the program: passed slots are locked
// against another one.
#pragma once

#include <os/steered_listener.hpp>

namespace handoff {

class ebpf_listener final : public steered_listener {
 public:
  static result<std::unique_ptr<steered_listener>> open(listener_settings settings,
                                                        std::uint32_t sticky_seed);

  static result<std::unique_ptr<steered_listener>> adopt(listener_settings settings,
                                                         std::uint32_t sticky_seed, inherited_group);

  steering_method method() const override { return steering_method::ebpf; }
  std::optional<int> anchor() const override { return anchor_.get(); }
  void retire(generation_number who) override;
  leaving remove(generation_number who) override;
  bool moves_waiting() const override { return true; }
  bool remembers_flows() const override { return true; }
  std::optional<slot_counts> counts(generation_number who) const override;
  bool intact() const override;

 private:
  ebpf_listener(listener_settings settings, std::uint32_t sticky_seed, steering program)
      : steered_listener(std::move(settings), sticky_seed, steering_slots), program_(std::move(program)) {}
  void describe(group_view&) const override;
  result<> replace_program();
  result<> place_again(std::uint32_t index);
  result<> open_slot(generation_number who) override;
  result<> open_again(std::uint32_t index) override;
  result<> close_door(std::uint32_t index) override;
  result<> choose_by(steering_page const& page) override { return program_.apply(page); }
  result<> after_split() override;
  result<> attach_again() override;
  result<> listen_again() const override;
  result<> take_slot(std::uint32_t index);
  result<> place(std::uint32_t index);
  result<> empty_anchor();
  result<bool> any_placed() const;

  steering program_;
  unique_fd anchor_;
  bool anchor_exposed_ = true;  // no slot was present since it was emptied: there may be something in it
};

}  // namespace handoff
