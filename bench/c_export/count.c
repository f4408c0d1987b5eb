/* Ticks of a timer for REPEATS forwards, to the file "counted": under qemu -icount shift=0 an
   instruction is a nanosecond. */
#include "net.h"
#include "semihosting.h"

#define REG(address) (*(volatile uint32_t *)(address))

static float x[NET_IN_OBSERVATION], y[NET_OUT_ACTION];

#if defined(MICROBIT) /* nRF51 timer 0, 16 MHz */
static void start_timer(void) {
  REG(0x40008504) = 0;
  REG(0x40008508) = 3;
  REG(0x40008510) = 0;
  REG(0x4000800c) = 1;
  REG(0x40008000) = 1;
}
static uint32_t ticks(void) {
  REG(0x40008040) = 1;
  return REG(0x40008540);
}
#else /* CMSDK timer 0 of the MPS2, 25 MHz, counts down */
static void start_timer(void) {
  REG(0x40000000) = 0;
  REG(0x40000008) = 0xffffffffu;
  REG(0x40000004) = 0xffffffffu;
  REG(0x40000000) = 1;
}
static uint32_t ticks(void) { return 0xffffffffu - REG(0x40000004); }
#endif

int main(void) {
  uint32_t first, counted;
  int32_t i;
  for (i = 0; i < NET_IN_OBSERVATION; ++i) x[i] = (float)(i % 7) * 0.25f - 0.75f;
  start_timer();
  first = ticks();
  for (i = 0; i < REPEATS; ++i) net_forward(x, y);
  counted = ticks() - first;
  write_file(open_file("counted", 7, WRITE), &counted, sizeof counted);
  return 0;
}
