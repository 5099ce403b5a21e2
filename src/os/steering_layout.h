// What handoffd and the steering program share: the values of its maps. Maps outlive the handoffd that made
// them, so every change here needs the next version.
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
namespace handoff {
#endif

enum {
  steering_layout_version = 2,
  steering_pages = 4,      // in turn, so that a run which was held up for three changes reads no other page
  steering_slots = 32,     // a power of two: the program masks indices with it
  steering_shares = 8,     // generations that have weight at once
  steering_rules = 64,     // routed networks and probes together
  steering_whole = 10000,  // all traffic
  steering_no_connection_id = 255
};

// A part of the traffic: the shares lie one behind the other on 0..steering_whole.
struct steering_share {
  __u32 up_to;  // its end; the next one begins here
  __u32 slot;
};

// Addresses are in network order, IPv4 as ::ffff:a.b.c.d.
struct steering_rule {
  __u32 network[4];  // the bits behind the mask are 0
  __u32 mask[4];
  __u16 port;  // of the client, in network order; 0: any
  __u16 slot;
};

// Everything that belongs together: it becomes current as a whole. A slot index of steering_slots or more
// names nobody.
struct steering_page {
  __u32 layout;    // steering_layout_version
  __u32 fallback;  // takes what migrates, what an absent slot would have got, and what lies behind the shares
  __u32 sticky;    // choose by the client's address instead of by connection
  __u32 seed;      // of the choice: another one divides the clients in another way
  __u32 shares;    // that are in use
  __u32 rules;     // that are in use; the first that matches decides
  __u64 flow_timeout_ns;     // UDP: a flow that was silent for so long is chosen for anew
  __u32 connection_id_byte;  // QUIC: which byte of a connection id tells the generation, or
                             // steering_no_connection_id
  __u32 generation[steering_slots];
  struct steering_share share[steering_shares];
  struct steering_rule rule[steering_rules];
  __u8 slot_of_byte[256];  // QUIC: the slot of the generation that such a byte tells
};

static __u32 const steering_mix_first = 0x85ebca6b, steering_mix_second = 0xc2b2ae35;

// The finaliser of MurmurHash3: every bit that goes in reaches every bit that comes out. The seed and the
// words of a sticky client's address, as numbers, go in one after the other; a classic program does the same.
static inline __u32 steering_mixed(__u32 hash) {
  hash ^= hash >> 16;
  hash *= steering_mix_first;
  hash ^= hash >> 13;
  hash *= steering_mix_second;
  hash ^= hash >> 16;
  return hash;
}

// What one slot got.
struct steering_count {
  __u64 connections;       // SYNs without ACK, so a repeated one counts again; those of probes do not
  __u64 datagrams;         // also those that a rule sent here
  __u64 migrations;        // connections that waited for a listener which was shut
  __u64 last_datagram_ns;  // of any flow that belongs to the slot, on the monotonic clock; 0: never
};

#ifdef __cplusplus
}
#endif
