// The system calls of the launcher, straight to the kernel: what comes back is a result, or an errno below
// zero.
//
// libc's start-up asks the processor what it can do, and under a hypervisor each such question is an exit to
// the host: 0.3 ms before the first line of main, at every start of a service. So on x86-64 the launcher is
// built without libc (freestanding.cpp), and nothing in this folder may call it.
#pragma once

#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <type_traits>

#ifndef __x86_64__
#include <unistd.h>
#endif

namespace handoff::kernel {

static_assert(sizeof(long) == 8, "setresuid, fcntl and mmap have other numbers on 32-bit machines");

inline long raw_call(long number, long a, long b, long c, long d, long e, long f) noexcept {
#ifdef __x86_64__
  register long fourth asm("r10") = d;
  register long fifth asm("r8") = e;
  register long sixth asm("r9") = f;
  long returned = number;
  asm volatile("syscall"
               : "+a"(returned)
               : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
               : "rcx", "r11", "memory");
  return returned;
#else
  long returned = ::syscall(number, a, b, c, d, e, f);
  return returned < 0 ? -errno : returned;
#endif
}

template <class T>
long as_register([[maybe_unused]] T value) noexcept {
  if constexpr (std::is_null_pointer_v<T>)
    return 0;
  else if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<long>(value);
  else
    return static_cast<long>(value);
}

// One of SYS_*, with up to six arguments.
template <class... T>
long call(long number, T... arguments) noexcept {
  static_assert(sizeof...(T) <= 6);
  long const registers[6] = {as_register(arguments)...};
  return raw_call(number, registers[0], registers[1], registers[2], registers[3], registers[4], registers[5]);
}

// 0, or the errno.
template <class... T>
int attempt(long number, T... arguments) noexcept {
  long returned = call(number, arguments...);
  return returned < 0 ? static_cast<int>(-returned) : 0;
}

// All of the kernel's signals, also the two that libc keeps for itself and refuses to touch.
constexpr int last_signal = NSIG - 1;
constexpr std::size_t signal_mask_bytes = last_signal / 8;
using signal_mask = unsigned long;
static_assert(sizeof(signal_mask) == signal_mask_bytes);

// From now on the signal does nothing. A handler that is empty, not SIG_IGN: exec turns it into the default.
// SIGKILL and SIGSTOP refuse, as they should.
void catch_signal(int number) noexcept;

}  // namespace handoff::kernel
