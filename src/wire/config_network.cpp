#include "config_network.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string>

namespace handoff {

namespace {

constexpr std::uint8_t all_bits = 128;
constexpr std::uint8_t v4_bits = 32;
constexpr std::uint8_t mapped_bits = 96;  // of ::ffff:0:0/96, where the IPv4 addresses are
constexpr std::array<std::uint8_t, mapped_bits / 8> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool is_mapped(network const& n) {
  return n.prefix >= mapped_bits && std::equal(mapped.begin(), mapped.end(), n.address.begin());
}

// One address, as a network of its own.
std::optional<network> parse_host(std::string const& text) {
  if (text.find('\0') != std::string::npos) return std::nullopt;
  network host{.prefix = all_bits};
  if (inet_pton(AF_INET6, text.c_str(), host.address.data()) == 1) return host;
  std::ranges::copy(mapped, host.address.begin());
  if (inet_pton(AF_INET, text.c_str(), host.address.data() + mapped.size()) == 1) return host;
  return std::nullopt;
}

std::optional<std::uint8_t> parse_prefix(std::string_view text, std::uint8_t longest) {
  std::uint8_t prefix = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), prefix);
  if (failed != std::errc{} || end != text.data() + text.size() || prefix > longest) return std::nullopt;
  return prefix;
}

void clear_behind_prefix(network& n) {
  for (std::size_t i = 0; i < n.address.size(); ++i) {
    int kept = std::clamp(n.prefix - static_cast<int>(i) * 8, 0, 8);
    n.address[i] &= static_cast<std::uint8_t>(0xFF00 >> kept);
  }
}

}  // namespace

result<network> parse_network(std::string_view text) {
  std::size_t slash = text.find('/');
  auto host = parse_host(std::string(text.substr(0, slash)));
  if (!host) return plain_failure("expected a network such as \"10.0.9.0/24\" or \"2001:db8::/32\"");
  if (slash == std::string_view::npos) return *host;
  bool v4 = text.find(':') == std::string_view::npos;
  std::uint8_t longest = v4 ? v4_bits : all_bits;
  auto prefix = parse_prefix(text.substr(slash + 1), longest);
  if (!prefix)
    return plain_failure("expected a prefix from 0 to " + std::to_string(longest) + " behind the slash");
  network value = *host;
  value.prefix = static_cast<std::uint8_t>(*prefix + (v4 ? mapped_bits : 0));
  clear_behind_prefix(value);
  if (value.address == host->address) return value;
  return plain_failure("expected \"" + network_text(value) + "\", with no bit set behind the prefix");
}

std::string network_text(network const& n) {
  bool v4 = is_mapped(n);
  std::array<char, INET6_ADDRSTRLEN> text{};
  auto const* first = n.address.data() + (v4 ? mapped.size() : 0);
  inet_ntop(v4 ? AF_INET : AF_INET6, first, text.data(), text.size());
  return std::string(text.data()) +
         (n.prefix == all_bits ? "" : "/" + std::to_string(n.prefix - (v4 ? mapped_bits : 0)));
}

}  // namespace handoff
