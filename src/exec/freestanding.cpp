// What a program without libc must bring itself: its first instruction, and the functions that compilers call
// on their own. Only on x86-64; elsewhere, and under sanitizers, libc starts the launcher (hosted.cpp).
#include <exec/launcher.hpp>

#include <cstddef>

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

[[gnu::used]] std::size_t strlen(char const* string) noexcept {
  std::size_t length = 0;
  while (string[length] != '\0') ++length;
  return length;
}

[[gnu::used]] void* memchr(void const* in, int wanted, std::size_t count) noexcept {
  auto const* bytes = static_cast<unsigned char const*>(in);
  for (std::size_t i = 0; i < count; ++i)
    if (bytes[i] == static_cast<unsigned char>(wanted)) return const_cast<unsigned char*>(bytes + i);
  return nullptr;
}
}
