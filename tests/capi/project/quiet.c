/* quiet POLICY: calls allocate nothing, in the thread that loaded the policy and in one
   that was prepared. Counts all that the program and the library ask the C library for.
 */
#include <errno.h>
#include <pthread.h>
#include <sparseagent.h>
#include <stdio.h>
#include <stdlib.h>

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

static long count;

void* malloc(size_t size) {
  ++count;
  return __libc_malloc(size);
}
void* calloc(size_t number, size_t size) {
  ++count;
  return __libc_calloc(number, size);
}
void* realloc(void* memory, size_t size) {
  ++count;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++count;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, size_t alignment, size_t size) {
  ++count;
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}

enum { MOST = 200, WIDEST = 64 };
static float x[MOST * WIDEST], y[MOST * WIDEST];
static long long actions[MOST * WIDEST];

static long allocations(const sparseagent_policy* policy) {
  const sparseagent_array given = {x, SPARSEAGENT_FLOAT32};
  const long before = count;
  char error[64];
  int batch;
  for (batch = 1; batch <= MOST; ++batch) {
    float* outputs = y;
    if (sparseagent_forward(policy, x, batch, y, error, sizeof error)) return -1;
    if (sparseagent_forward_all(policy, &given, batch, &outputs, 1, NULL, 0)) return -1;
    if (sparseagent_act(policy, &given, batch, actions, error, sizeof error)) return -1;
  }
  return count - before;
}

static void* other(void* policy) {
  static long found;
  found = sparseagent_prepare(policy, NULL, 0) ? -1 : allocations(policy);
  return &found;
}

int main(int argc, char** argv) {
  sparseagent_policy* policy =
      argc == 2 ? sparseagent_load(argv[1], NULL, NULL, 0) : NULL;
  pthread_t thread;
  void* found;
  long here;
  if (!policy || !count || sparseagent_input_size(policy, 0) > WIDEST) return 2;
  here = allocations(policy);
  if (pthread_create(&thread, NULL, other, policy) || pthread_join(thread, &found))
    return 2;
  printf("%ld %ld\n", here, *(long*)found);
  sparseagent_free(policy);
  return here != 0 || *(long*)found != 0;
}
