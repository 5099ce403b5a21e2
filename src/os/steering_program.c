#define _DEFAULT_SOURCE  // the skeleton's header maps anonymous memory and makes system calls
#include "steering_program.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <steering.skeleton.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// The skeleton closes every descriptor but 0 when it goes; what the caller keeps is taken out of it.
static int take(int* descriptor) {
  int taken = *descriptor;
  *descriptor = 0;
  return taken;
}

int steering_program_load(uint32_t flows, struct steering_program* loaded) {
  struct steering_bpf* skeleton = steering_bpf__open();
  if (!skeleton) return -ENOMEM;
  skeleton->maps.flows.max_entries = flows;
  int status = steering_bpf__load(skeleton);
  if (status == 0) {
    loaded->program = take(&skeleton->progs.steer.prog_fd);
    loaded->sockets = take(&skeleton->maps.sockets.map_fd);
    loaded->pages = take(&skeleton->maps.pages.map_fd);
    loaded->current = take(&skeleton->maps.current.map_fd);
    loaded->counts = take(&skeleton->maps.counts.map_fd);
    loaded->flows = take(&skeleton->maps.flows.map_fd);
  }
  steering_bpf__destroy(skeleton);
  return status;
}

static int on_element(int command, int map, uint32_t const* key, uint64_t value) {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_fd = (uint32_t)map;
  attributes.key = (uintptr_t)key;
  attributes.value = value;
  attributes.flags = BPF_ANY;
  return syscall(SYS_bpf, command, &attributes, sizeof attributes) < 0 ? -errno : 0;
}

int steering_map_write(int map, uint32_t key, void const* value) {
  return on_element(BPF_MAP_UPDATE_ELEM, map, &key, (uintptr_t)value);
}

int steering_map_read(int map, uint32_t key, void* value) {
  return on_element(BPF_MAP_LOOKUP_ELEM, map, &key, (uintptr_t)value);
}

int steering_map_erase(int map, uint32_t key) { return on_element(BPF_MAP_DELETE_ELEM, map, &key, 0); }
