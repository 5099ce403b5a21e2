// What a program without libc must bring itself: its first instruction, and the functions that compilers call
// on their own. Only on x86-64; elsewhere, and under sanitizers, libc starts the launcher (hosted.cpp).
#include <exec/launcher.hpp>

#include <cstddef>
#include <cstdint>

extern "C" {

// The kernel enters with an aligned stack and nothing else that we need.
[[gnu::naked, gnu::used, noreturn]] void _start() { asm("xor %ebp, %ebp\n\tcall run_launcher\n\tud2"); }

[[noreturn, gnu::used]] void run_launcher() { handoff::launch(); }

[[gnu::used]] void* memcpy(void* __restrict to, void const* __restrict from, std::size_t count) noexcept {
  void* const start = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  return start;
}

[[gnu::used]] void* memset(void* to, int value, std::size_t count) noexcept {
  void* const start = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  return start;
}

// Written as instructions, like the two above: a compiler would take a loop for a call to the very function.
[[gnu::used]] std::size_t strlen(char const* string) noexcept {
  char const* end = string;
  std::size_t left = SIZE_MAX;
  asm volatile("repne scasb" : "+D"(end), "+c"(left) : "a"('\0') : "memory", "cc");
  return static_cast<std::size_t>(end - string) - 1;
}

[[gnu::used]] void* memchr(void const* in, int wanted, std::size_t count) noexcept {
  if (count == 0) return nullptr;
  auto const* behind = static_cast<char const*>(in);
  bool found = false;
  asm volatile("repne scasb" : "+D"(behind), "+c"(count), "=@ccz"(found) : "a"(wanted) : "memory");
  return found ? const_cast<char*>(behind - 1) : nullptr;
}
}
