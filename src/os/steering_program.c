#define _DEFAULT_SOURCE  // the skeleton's header maps anonymous memory and makes system calls
#include "steering_program.h"

#include <os/steering_layout.h>

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
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

static int describe(int descriptor, void* info, uint32_t size) {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  memset(info, 0, size);
  attributes.info.bpf_fd = (uint32_t)descriptor;
  attributes.info.info_len = size;
  attributes.info.info = (uintptr_t)info;
  return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attributes, sizeof attributes) < 0 ? -errno : 0;
}

static int check_map(int map, uint32_t type, uint32_t value_size, uint32_t entries) {
  struct bpf_map_info info;
  int status = describe(map, &info, sizeof info);
  if (status < 0) return status;
  bool same = info.type == type && info.value_size == value_size && info.max_entries >= entries;
  return same ? 0 : -EINVAL;
}

int steering_program_check(struct steering_program const* loaded) {
  struct bpf_prog_info info;
  int status = describe(loaded->program, &info, sizeof info);
  if (status == 0 && info.type != BPF_PROG_TYPE_SK_REUSEPORT) status = -EINVAL;
  enum { whole_owner = 16 };  // slot, generation and last use
  if (status == 0) status = check_map(loaded->sockets, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 8, steering_slots);
  if (status == 0)
    status = check_map(loaded->pages, BPF_MAP_TYPE_ARRAY, sizeof(struct steering_page), steering_pages);
  if (status == 0) status = check_map(loaded->current, BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), 1);
  if (status == 0)
    status =
        check_map(loaded->counts, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(struct steering_count), steering_slots);
  if (status == 0) status = check_map(loaded->flows, BPF_MAP_TYPE_LRU_HASH, whole_owner, 1);
  return status;
}

uint32_t steering_program_id(int program) {
  struct bpf_prog_info info;
  return describe(program, &info, sizeof info) == 0 ? info.id : 0;
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
