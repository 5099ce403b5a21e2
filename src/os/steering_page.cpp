#include "steering_page.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <functional>

namespace handoff {

namespace {

using address_words = std::array<std::uint32_t, 4>;  // in network order

address_words words_of(std::array<std::uint8_t, 16> const& bytes) {
  address_words words;
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

address_words mask_of(std::uint8_t prefix) {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned i = 0; i < bytes.size(); ++i) {
    unsigned ones = std::clamp(prefix - 8 * static_cast<int>(i), 0, 8);
    bytes[i] = static_cast<std::uint8_t>(0xff00U >> ones);
  }
  return words_of(bytes);
}

class page_writer {
 public:
  page_writer(slot_owners const& owners, generation_number fallback) : owners_(owners) {
    page_.layout = steering_layout_version;
    page_.fallback = slot_of(owners, fallback);
    for (unsigned i = 0; i < owners.size(); ++i) page_.generation[i] = number(owners[i]);
    page_.connection_id_byte = steering_no_connection_id;
    std::ranges::fill(page_.slot_of_byte, static_cast<std::uint8_t>(no_slot));
  }

  void add_rule(network const& from, std::uint16_t port, generation_number to) {
    if (page_.rules == steering_rules) return;
    auto& rule = page_.rule[page_.rules++];
    auto address = words_of(from.address);
    auto mask = mask_of(from.prefix);
    std::copy(mask.begin(), mask.end(), rule.mask);
    std::transform(address.begin(), address.end(), mask.begin(), rule.network, std::bit_and());
    rule.port = htons(port);
    rule.slot = static_cast<std::uint16_t>(slot_or_fallback(to));
  }

  void add_share(share const& s) {
    std::uint32_t begin = page_.shares == 0 ? 0 : page_.share[page_.shares - 1].up_to;
    std::uint32_t width = std::min<std::uint32_t>(number(s.weight), steering_whole - begin);
    if (width == 0 || page_.shares == steering_shares) return;
    page_.share[page_.shares++] = {.up_to = begin + width, .slot = slot_or_fallback(s.generation)};
  }

  // A byte that two generations share tells nothing.
  void tell_connections(std::uint8_t byte) {
    auto told_by = [this](generation_number g) { return number(g) % std::size(page_.slot_of_byte); };
    page_.connection_id_byte = byte;
    for (unsigned i = 0; i < owners_.size(); ++i) {
      if (owners_[i] == no_generation) continue;
      auto same = [&](generation_number g) {
        return g != no_generation && told_by(g) == told_by(owners_[i]);
      };
      bool alone = std::ranges::count_if(owners_, same) == 1;
      if (alone) page_.slot_of_byte[told_by(owners_[i])] = static_cast<std::uint8_t>(i);
    }
  }

  steering_page& page() { return page_; }

 private:
  std::uint32_t slot_or_fallback(generation_number who) const {
    auto slot = slot_of(owners_, who);
    return slot == no_slot ? page_.fallback : slot;
  }

  slot_owners const& owners_;
  steering_page page_{};
};

}  // namespace

std::uint32_t slot_of(slot_owners const& owners, generation_number who) {
  if (who == no_generation) return no_slot;
  return static_cast<std::uint32_t>(std::find(owners.begin(), owners.end(), who) - owners.begin());
}

steering_page make_page(traffic_split const& split, slot_owners const& owners,
                        std::span<routed_client const> clients, steering_constants const& constants) {
  page_writer writer(owners, split.fallback);
  for (auto const& client : clients) writer.add_rule(client.from, client.port, client.to);
  for (auto const& route : split.routes) writer.add_rule(route.from, 0, route.to);
  for (auto const& s : split.shares) writer.add_share(s);
  if (constants.connection_id_byte) writer.tell_connections(*constants.connection_id_byte);
  auto& page = writer.page();
  page.sticky = split.sticky;
  page.seed = constants.sticky_seed;
  page.flow_timeout_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(constants.flow_timeout).count());
  return page;
}

}  // namespace handoff
