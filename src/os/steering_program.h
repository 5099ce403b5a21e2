// The steering program in the kernel: loading it, and its maps as bytes. The one place that knows eBPF's
// system call.
//
// Every function returns 0 or a positive result, or -errno.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Descriptors of the program and its maps, all close-on-exec and the caller's.
struct steering_program {
  int program;
  int sockets;  // slot -> socket; reads as the socket's cookie (SO_COOKIE)
  int pages;    // index -> struct steering_page
  int current;  // 0 -> index of the page that counts
  int counts;   // slot -> struct steering_count for each possible CPU
  int flows;    // UDP flow -> its slot
};

// Needs Linux 5.14 and CAP_BPF; and CAP_PERFMON, without which the skeleton's own loader is refused as
// EINVAL. `flows` is the size of the flow table, at least 1.
int steering_program_load(uint32_t flows, struct steering_program* loaded);

// Whether these are a program and maps of the kinds and sizes that this header's layout has: -EINVAL when
// not.
int steering_program_check(struct steering_program const* loaded);

// The number that the kernel gives a loaded program; 0 when it does not tell.
uint32_t steering_program_id(int program);

int steering_map_write(int map, uint32_t key, void const* value);
// `value` has room for what the map holds at `key`.
int steering_map_read(int map, uint32_t key, void* value);
int steering_map_erase(int map, uint32_t key);

#ifdef __cplusplus
}
#endif
