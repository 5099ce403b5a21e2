// Chooses the socket of a reuseport group for each new connection or datagram: by rule, by QUIC
// connection id, by flow, by share.
// It never drops: an absent slot falls to the fallback, then to the first that is present. With none present
// it selects nothing, and the kernel takes any member of the group.
#include <os/steering_layout.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/udp.h>
#include <stdbool.h>

struct {
  __uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
  __uint(max_entries, steering_slots);
  __type(key, __u32);
  __type(value, __u64);
} sockets SEC(".maps");

// A page is complete before `current` names it.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, steering_pages);
  __type(key, __u32);
  __type(value, struct steering_page);
} pages SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} current SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, steering_slots);
  __type(key, __u32);
  __type(value, struct steering_count);
} counts SEC(".maps");

struct flow {
  __u32 client[4], server[4];  // as in a steering_rule
  __u16 client_port, server_port;
};

// The generation tells a flow of the slot's former owner from one of its present owner.
struct flow_owner {
  __u32 slot, generation;
  __u64 last_use;
};

// Whoever loads this says how large it is; the least recently used flow makes room.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct flow);
  __type(value, struct flow_owner);
} flows SEC(".maps");

enum { nobody = steering_slots };

enum news { nothing_new, new_connection, new_datagram, migrated_connection };

struct packet {
  struct flow ends;
  enum news news;
};

static __always_inline bool read_addresses(struct sk_reuseport_md* md, struct flow* ends) {
  // An IPv4 client of a dual-stack socket comes with an IPv4 header.
  if (md->eth_protocol == bpf_htons(ETH_P_IP)) {
    ends->client[2] = ends->server[2] = bpf_htonl(0xffff);
    return bpf_skb_load_bytes_relative(md, 12, &ends->client[3], 4, BPF_HDR_START_NET) == 0 &&
           bpf_skb_load_bytes_relative(md, 16, &ends->server[3], 4, BPF_HDR_START_NET) == 0;
  }
  return bpf_skb_load_bytes_relative(md, 8, ends->client, 16, BPF_HDR_START_NET) == 0 &&
         bpf_skb_load_bytes_relative(md, 24, ends->server, 16, BPF_HDR_START_NET) == 0;
}

// The header of the transport lies in front of us; addresses are behind a call, for who decides by them.
static __always_inline bool read_packet(struct sk_reuseport_md* md, struct steering_page const* page,
                                        struct packet* p) {
  enum { tcp_flags_at = 13, syn = 0x02, ack = 0x10 };
  __u8 const *header = md->data, *end = md->data_end;
  if (header + sizeof(struct udphdr) > end) return false;
  p->ends.client_port = *(__u16 const*)header;
  p->ends.server_port = *(__u16 const*)(header + 2);
  if (md->ip_protocol == IPPROTO_UDP) {
    p->news = new_datagram;
    return read_addresses(md, &p->ends);
  }
  // Stray ACKs come here too, and those of handshakes with a cookie come twice.
  if (header + tcp_flags_at + 1 > end) return false;
  if ((header[tcp_flags_at] & (syn | ack)) == syn) p->news = new_connection;
  return (page->rules == 0 && !page->sticky) || read_addresses(md, &p->ends);
}

static __always_inline bool matches(struct steering_rule const* rule, struct flow const* ends) {
  if (rule->port != 0 && rule->port != ends->client_port) return false;
  for (int i = 0; i < 4; ++i)
    if ((ends->client[i] & rule->mask[i]) != rule->network[i]) return false;
  return true;
}

// Whether a rule decides; an absent slot is still its decision, and means the fallback. A rule with a port is
// that of a probe, which is no traffic.
static __always_inline bool find_rule(struct steering_page const* page, struct packet* p, __u32* slot) {
  for (__u32 i = 0; i < steering_rules && i < page->rules; ++i) {
    if (!matches(&page->rule[i], &p->ends)) continue;
    if (page->rule[i].port != 0 && p->news == new_connection) p->news = nothing_new;
    *slot = page->rule[i].slot;
    return true;
  }
  return false;
}

// Another CPU may have used the flow after `now` was read.
static __always_inline bool is_over(struct flow_owner const* owner, __u64 now, __u64 timeout) {
  return (__s64)(now - owner->last_use) >= (__s64)timeout;
}

static __always_inline __u32 find_flow(struct steering_page const* page, struct flow const* ends, __u64 now) {
  struct flow_owner const* owner = bpf_map_lookup_elem(&flows, ends);
  if (!owner) return nobody;
  __u32 slot = owner->slot & (steering_slots - 1);
  bool same_owner = owner->generation != 0 && owner->generation == page->generation[slot];
  return same_owner && !is_over(owner, now, page->flow_timeout_ns) ? slot : nobody;
}

static __always_inline void remember_flow(struct steering_page const* page, struct flow const* ends,
                                          __u32 slot, __u64 now) {
  struct flow_owner mine = {.slot = slot, .last_use = now};
  mine.generation = page->generation[slot & (steering_slots - 1)];
  bpf_map_update_elem(&flows, ends, &mine, BPF_ANY);
}

// Which types of packets there are depends on the version (RFC 9000, section 17.2; RFC 9369, section 3.2).
static __always_inline bool is_handshake(__u8 first, __u32 version) {
  enum { version_1 = 1, version_2 = 0x6b3343cf, long_type = 0x30, handshake_1 = 0x20, handshake_2 = 0x30 };
  if (version == version_1) return (first & long_type) == handshake_1;
  return version == version_2 && (first & long_type) == handshake_2;
}

// The slot that a QUIC packet of an established connection names, wherever its client has moved to (RFC 9000,
// sections 9 and 17; RFC 8999 for what holds in every version). The ids of first packets are the client's own
// invention; a Handshake packet has one of the server's.
static __always_inline __u32 find_connection(struct sk_reuseport_md* md, struct steering_page const* page) {
  enum { udp_header = 8, long_header = 0x80, version_at = udp_header + 1, id_length_at = udp_header + 5 };
  enum { short_id_at = udp_header + 1, long_id_at = udp_header + 6 };
  if (page->connection_id_byte == steering_no_connection_id) return nobody;
  __u8 first = 0, id_length = 0, told = 0;
  if (bpf_skb_load_bytes(md, udp_header, &first, 1) != 0) return nobody;
  __u32 id_at = short_id_at;
  if (first & long_header) {
    __u32 version = 0;
    if (bpf_skb_load_bytes(md, version_at, &version, sizeof version) != 0) return nobody;
    if (!is_handshake(first, bpf_ntohl(version))) return nobody;
    if (bpf_skb_load_bytes(md, id_length_at, &id_length, 1) != 0) return nobody;
    if (id_length <= page->connection_id_byte) return nobody;
    id_at = long_id_at;
  }
  if (bpf_skb_load_bytes(md, id_at + page->connection_id_byte, &told, 1) != 0) return nobody;
  return page->slot_of_byte[told];
}

static __always_inline __u32 find_share(struct sk_reuseport_md* md, struct steering_page const* page,
                                        struct flow const* ends) {
  __u32 hash = steering_mixed(page->seed);
  if (page->sticky) {
    for (int i = 0; i < 4; ++i) hash = steering_mixed(hash ^ bpf_ntohl(ends->client[i]));
  } else {
    hash = steering_mixed(hash ^ md->hash);
  }
  __u32 point = ((__u64)hash * steering_whole) >> 32;
  for (__u32 i = 0; i < steering_shares && i < page->shares; ++i)
    if (point < page->share[i].up_to) return page->share[i].slot;
  return page->fallback;
}

static __always_inline bool give(struct sk_reuseport_md* md, __u32 slot) {
  return bpf_sk_select_reuseport(md, &sockets, &slot, 0) == 0;
}

// The slot that got it.
static __always_inline __u32 deliver(struct sk_reuseport_md* md, struct steering_page const* page,
                                     __u32 slot) {
  if (give(md, slot)) return slot;
  if (give(md, page->fallback)) return page->fallback;
  for (__u32 i = 0; i < steering_slots; ++i)
    if (give(md, i)) return i;
  return nobody;
}

static __always_inline void count(__u32 slot, enum news news, __u64 flow_seen_at) {
  struct steering_count* c = bpf_map_lookup_elem(&counts, &slot);
  if (!c) return;
  if (news == new_connection) c->connections++;
  if (news == new_datagram) c->datagrams++;
  if (news == migrated_connection) c->migrations++;
  if (flow_seen_at != 0) c->last_datagram_ns = flow_seen_at;
}

SEC("sk_reuseport/migrate")
int steer(struct sk_reuseport_md* md) {
  __u32 zero = 0;
  __u32 const* which = bpf_map_lookup_elem(&current, &zero);
  if (!which) return SK_PASS;
  struct steering_page const* page = bpf_map_lookup_elem(&pages, which);
  if (!page) return SK_PASS;

  struct packet p = {.news = nothing_new};
  __u32 slot = page->fallback;
  __u64 flow_seen_at = 0;
  if (md->migrating_sk) {  // there is no packet
    p.news = migrated_connection;
  } else if (read_packet(md, page, &p) && !find_rule(page, &p, &slot)) {
    slot = nobody;
    if (p.news == new_datagram) {
      flow_seen_at = bpf_ktime_get_ns();
      slot = find_connection(md, page);
      if (slot == nobody) slot = find_flow(page, &p.ends, flow_seen_at);
    }
    if (slot == nobody) slot = find_share(md, page, &p.ends);
  }
  slot = deliver(md, page, slot);
  if (slot == nobody) return SK_PASS;
  if (flow_seen_at != 0) remember_flow(page, &p.ends, slot, flow_seen_at);
  count(slot, p.news, flow_seen_at);
  return SK_PASS;
}

char steering_license[] SEC("license") = "Dual MIT/GPL";
