#include "classic_program.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>

#include <algorithm>
#include <optional>

namespace handoff {

namespace {

constexpr std::uint32_t words = 4;  // of an address
constexpr std::uint32_t port_at = words;

// The longest rule: each word loaded, masked and compared; the port; the return. What stands around the rules
// is a fraction of what is left.
static_assert(steering_rules * (3 * words + 3) + 512 < BPF_MAXINSNS);

class program_writer {
 public:
  program_writer(steering_page const& page, socket_type type, std::span<std::uint32_t const> order)
      : page_(page), order_(order), by_chance_(type == socket_type::stream && page.sticky == 0) {}

  std::vector<sock_filter> write() {
    if (page_.rules > 0 || (!by_chance_ && is_divided())) read_client();
    for (std::uint32_t i = 0; i < page_.rules; ++i) write_rule(page_.rule[i]);
    if (is_divided()) write_shares();
    give(last_choice());
    return std::move(code_);
  }

 private:
  void add(unsigned code, std::uint32_t k = 0) { code_.push_back(BPF_STMT(static_cast<__u16>(code), k)); }
  void add_jump(unsigned code, std::uint32_t k, __u8 if_true, __u8 if_false) {
    code_.push_back(BPF_JUMP(static_cast<__u16>(code), k, if_true, if_false));
  }
  void give(std::uint32_t slot) { add(BPF_RET | BPF_K, index_of(slot)); }

  std::optional<std::uint32_t> present(std::uint32_t slot) const {
    auto found = std::ranges::find(order_, slot);
    if (slot == no_slot || found == order_.end()) return {};
    return static_cast<std::uint32_t>(found - order_.begin());
  }

  // Of an absent slot it is that of the fallback, then that of the first slot that is present.
  std::uint32_t index_of(std::uint32_t slot) const {
    if (auto index = present(slot)) return *index;
    if (auto index = present(page_.fallback)) return *index;
    auto first = std::ranges::min_element(order_);
    return first == order_.end() ? 0 : static_cast<std::uint32_t>(first - order_.begin());
  }

  // Whether it depends on the client who gets what no rule decides.
  bool is_divided() const {
    auto const* end = page_.share + page_.shares;
    return std::any_of(page_.share, end,
                       [&](auto const& s) { return index_of(s.slot) != index_of(last_choice()); });
  }

  // Behind the shares is nothing when they are the whole: then the last one needs no comparison.
  bool is_whole() const { return page_.shares > 0 && page_.share[page_.shares - 1].up_to == steering_whole; }
  std::uint32_t last_choice() const {
    return is_whole() ? page_.share[page_.shares - 1].slot : page_.fallback;
  }

  // The client's address and port go to the scratch memory, IPv4 as ::ffff:a.b.c.d. The program begins behind
  // the header of TCP or UDP; the kernel shows what lies before by offsets of its own. Behind extension
  // headers of IPv6 something else is taken for the port: it makes no difference to rules for networks, and a
  // flow has it alike in each datagram.
  void read_client() {
    auto const network = static_cast<std::uint32_t>(SKF_NET_OFF);
    constexpr std::uint32_t client_of_4 = 12, client_of_6 = 8, behind_6 = 40;
    constexpr __u8 length_of_4 = 10, length_of_6 = 2 * words + 2;
    add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL));
    add_jump(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, length_of_4 + 1);
    add(BPF_LD | BPF_IMM, 0);
    add(BPF_ST, 0);
    add(BPF_ST, 1);
    add(BPF_LD | BPF_IMM, 0xffff);
    add(BPF_ST, 2);
    add(BPF_LD | BPF_W | BPF_ABS, network + client_of_4);
    add(BPF_ST, 3);
    add(BPF_LDX | BPF_B | BPF_MSH, network);
    add(BPF_LD | BPF_H | BPF_IND, network);
    add(BPF_ST, port_at);
    add(BPF_JMP | BPF_JA, length_of_6);
    for (std::uint32_t i = 0; i < words; ++i) {
      add(BPF_LD | BPF_W | BPF_ABS, network + client_of_6 + 4 * i);
      add(BPF_ST, i);
    }
    add(BPF_LD | BPF_H | BPF_ABS, network + behind_6);
    add(BPF_ST, port_at);
  }

  void write_rule(steering_rule const& rule) {
    std::size_t begin = code_.size();
    for (std::uint32_t i = 0; i < words; ++i) {
      if (rule.mask[i] == 0) continue;
      add(BPF_LD | BPF_MEM, i);
      if (rule.mask[i] != ~0U) add(BPF_ALU | BPF_AND | BPF_K, ntohl(rule.mask[i]));
      add_jump(BPF_JMP | BPF_JEQ | BPF_K, ntohl(rule.network[i]), 0, 0);
    }
    if (rule.port != 0) {
      add(BPF_LD | BPF_MEM, port_at);
      add_jump(BPF_JMP | BPF_JEQ | BPF_K, ntohs(rule.port), 0, 0);
    }
    give(rule.slot);
    for (std::size_t i = begin; i < code_.size(); ++i)
      if (BPF_CLASS(code_[i].code) == BPF_JMP) code_[i].jf = static_cast<__u8>(code_.size() - i - 1);
  }

  // steering_mixed() of what is in the accumulator.
  void mix() {
    auto fold = [&](std::uint32_t bits) {
      add(BPF_MISC | BPF_TAX);
      add(BPF_ALU | BPF_RSH | BPF_K, bits);
      add(BPF_ALU | BPF_XOR | BPF_X);
    };
    fold(16);
    add(BPF_ALU | BPF_MUL | BPF_K, steering_mix_first);
    fold(13);
    add(BPF_ALU | BPF_MUL | BPF_K, steering_mix_second);
    fold(16);
  }

  void hash_client() {
    add(BPF_LD | BPF_IMM, steering_mixed(page_.seed));
    std::uint32_t last = page_.sticky != 0 ? words : port_at + 1;
    for (std::uint32_t i = 0; i < last; ++i) {
      add(BPF_MISC | BPF_TAX);
      add(BPF_LD | BPF_MEM, i);
      add(BPF_ALU | BPF_XOR | BPF_X);
      mix();
    }
  }

  void write_shares() {
    if (by_chance_)
      add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM));
    else
      hash_client();
    for (std::uint32_t i = 0; i < page_.shares; ++i) {
      auto const& share = page_.share[i];
      if (share.up_to == steering_whole) return;
      add_jump(BPF_JMP | BPF_JGE | BPF_K, first_hash_behind(share.up_to), 1, 0);
      give(share.slot);
    }
  }

  // The eBPF program compares hash * steering_whole / 2^32, rounded down.
  static std::uint32_t first_hash_behind(std::uint32_t up_to) {
    std::uint64_t scaled = static_cast<std::uint64_t>(up_to) << 32;
    return static_cast<std::uint32_t>((scaled + steering_whole - 1) / steering_whole);
  }

  steering_page const& page_;
  std::span<std::uint32_t const> order_;
  bool by_chance_;
  std::vector<sock_filter> code_;
};

}  // namespace

std::vector<sock_filter> classic_program(steering_page const& page, socket_type type,
                                         std::span<std::uint32_t const> order) {
  return program_writer(page, type, order).write();
}

}  // namespace handoff
