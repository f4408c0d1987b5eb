/* Files "given" and "got" for the driver, by the C library. */
#include <stdio.h>

int get(void *to, int bytes);
void put(const void *from, int bytes);

static FILE *in, *out;

int get(void *to, int bytes) {
  if (!in) in = fopen("given", "rb");
  return fread(to, (size_t)bytes, 1, in) == 1;
}

void put(const void *from, int bytes) {
  if (!out) out = fopen("got", "wb");
  if (bytes) {
    fwrite(from, (size_t)bytes, 1, out);
  } else {
    fclose(out);
  }
}
