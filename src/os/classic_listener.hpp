// A steered listener with a generated classic program: two slots, and no anchor.
//
// The group is exactly its slots. Before the first generation and after the last one a socket stays open that
// has no owner, and the next generation takes it over with what waits in it. The kernel numbers the members:
// whoever joins is the last one, and where one leaves the last one takes its place. A program that names an
// index which nobody has means any member, so with two of them no order of these steps gives anything to the
// wrong one.
//
// Slots are not locked against another program: there would be no way left to change ours.
#pragma once

#include <os/steered_listener.hpp>

namespace handoff {

constexpr std::uint32_t classic_slots = 2;

class classic_listener final : public steered_listener {
 public:
  static result<std::unique_ptr<steered_listener>> open(listener_settings settings,
                                                        std::uint32_t sticky_seed);

  static result<std::unique_ptr<steered_listener>> adopt(listener_settings settings,
                                                         std::uint32_t sticky_seed, inherited_group);

  steering_method method() const override { return steering_method::classic; }
  bool is_full() const override { return vacant_slot() == no_slot && !free_slot(); }
  void retire(generation_number who) override;
  leaving remove(generation_number who) override;
  bool moves_waiting() const override;
  bool remembers_flows() const override { return false; }

 private:
  classic_listener(listener_settings settings, std::uint32_t sticky_seed)
      : steered_listener(std::move(settings), sticky_seed, classic_slots) {}
  void describe(group_view& seen) const override { seen.order = order_; }
  result<> open_slot(generation_number who) override;
  result<> open_again(std::uint32_t index) override;
  result<> close_door(std::uint32_t index) override;
  result<> choose_by(steering_page const& page) override;
  result<> attach_again() override { return choose_anew(); }
  result<> listen_again() const override;
  bool is_member(std::uint32_t index) const;
  std::uint32_t vacant_slot() const;
  void leaves(std::uint32_t index);
  void notice_who_left();
  leaving end(std::uint32_t index);
  void abandon(std::uint32_t index);

  std::vector<std::uint32_t> order_;  // slots by their index in the kernel's group
};

// Whether this process may attach such a program: tried once, at the first call.
steering_support const& can_steer_by_classic();

// net.ipv4.tcp_migrate_req, which is everybody's in the network namespace and never set by us: whether the
// kernel moves what waits in a listening socket that is closed to another one of its group.
bool tcp_migrates_requests();

}  // namespace handoff
