#include "kernel.hpp"

namespace handoff::kernel {

namespace {

void notice_nothing(int) {}

// The kernel's struct sigaction. Architectures that know no restorer have their mask in its place: zeros
// either way.
struct signal_action {
  void (*handler)(int) = nullptr;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  signal_mask mask = 0;
};

#ifdef __x86_64__
// The way back from a handler, which this architecture asks of the program: rt_sigreturn(2).
[[gnu::naked]] void restore() { asm("mov $15, %eax\n\tsyscall"); }
constexpr unsigned long with_restorer = 0x04000000;  // SA_RESTORER of asm/signal.h
constexpr signal_action do_nothing{notice_nothing, with_restorer, restore, 0};
#else
constexpr signal_action do_nothing{notice_nothing, 0, nullptr, 0};
#endif

}  // namespace

void catch_signal(int number) noexcept {
  call(SYS_rt_sigaction, number, &do_nothing, nullptr, signal_mask_bytes);
}

}  // namespace handoff::kernel
