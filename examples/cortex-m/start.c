/* The least that a Cortex-M needs before main: vectors, memory, the FPU; and semihosting, by which a
   debugger or qemu reads and writes files for the program. No C library. */
#include <stdint.h>

#include "semihosting.h"

extern uint32_t _stack, _data_from, _data, _data_end, _bss, _bss_end;
int main(void);
void start(void);

static int32_t call(int32_t operation, const void *block) {
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void leave(int32_t code) {
  const uint32_t block[2] = {0x20026, (uint32_t)code};
  call(0x20, block); /* SYS_EXIT_EXTENDED */
  for (;;) {
  }
}

static void fault(void) { leave(99); }

struct vectors {
  uint32_t *stack;
  void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &_stack, {start, fault, fault, fault, fault, fault}};

int32_t open_file(const char *name, int32_t length, int32_t mode) {
  const uint32_t block[3] = {(uint32_t)name, (uint32_t)mode, (uint32_t)length};
  return call(0x01, block);
}

int32_t read_file(int32_t file, void *to, int32_t bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)to, (uint32_t)bytes};
  return bytes - call(0x06, block);
}

void write_file(int32_t file, const void *from, int32_t bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)from, (uint32_t)bytes};
  call(0x05, block);
}

void start(void) {
  volatile uint32_t *to; /* so that no compiler calls memcpy for it */
  const uint32_t *from = &_data_from;
#if defined(__ARM_FP)
  *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: the FPU may be used */
  __asm__ volatile("dsb\n\tisb");
#endif
  for (to = &_data; to < &_data_end;) *to++ = *from++;
  for (to = &_bss; to < &_bss_end;) *to++ = 0;
  leave(main());
}
