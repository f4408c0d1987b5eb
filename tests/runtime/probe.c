/* Counts what a call does behind its back: allocations, locks, system calls.
 *
 * Preloaded into an interpreter. The functions below stand in for the C library's and
 * count while a window is open; system calls are counted by the kernel, which a seccomp
 * filter tells to trap every one of them in a forked child. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Exported by every CPython; declared here so that no headers of it are needed. */
extern void *PyObject_Vectorcall(void *callable, void *const *args, size_t count,
                                 void *names);
extern void Py_DecRef(void *object);

static volatile int open_window;
static volatile long allocations, locks, system_calls;

#define NEXT(name)                                        \
  static __typeof__(&name) real;                          \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define STAND_IN(kind, result, name, parameters, arguments) \
  result name parameters {                                  \
    NEXT(name);                                             \
    if (open_window) ++kind;                                \
    return real arguments;                                  \
  }

/* The allocator's own names: dlsym may allocate while they are looked up. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) {
  if (open_window) ++allocations;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  if (open_window) ++allocations;
  return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
  if (open_window) ++allocations;
  return __libc_realloc(old, size);
}
void *memalign(size_t alignment, size_t size) {
  if (open_window) ++allocations;
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
  *result = memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}
void free(void *old) {
  if (open_window && old) ++allocations;
  __libc_free(old);
}

STAND_IN(locks, int, pthread_mutex_lock, (pthread_mutex_t * m), (m))
STAND_IN(locks, int, pthread_mutex_trylock, (pthread_mutex_t * m), (m))
STAND_IN(locks, int, pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))
STAND_IN(locks, int, pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))
STAND_IN(locks, int, pthread_spin_lock, (pthread_spinlock_t * l), (l))
STAND_IN(locks, int, pthread_cond_signal, (pthread_cond_t * c), (c))
STAND_IN(locks, int, pthread_cond_broadcast, (pthread_cond_t * c), (c))
STAND_IN(locks, int, sem_wait, (sem_t * s), (s))
STAND_IN(locks, int, sem_trywait, (sem_t * s), (s))
STAND_IN(locks, int, sem_post, (sem_t * s), (s))

static int call(void *callable, void *const *args, long count, long times) {
  for (long i = 0; i < times; ++i) {
    void *result = PyObject_Vectorcall(callable, args, (size_t)count, NULL);
    if (!result) return -1;
    Py_DecRef(result);
  }
  return 0;
}

/* `callable(*args)` `times` times. counts: allocations and frees, locks. */
int probe_library(void *callable, void *const *args, long count, long times,
                  long *counts) {
  allocations = locks = 0;
  open_window = 1;
  const int failed = call(callable, args, count, times);
  open_window = 0;
  counts[0] = allocations;
  counts[1] = locks;
  return failed;
}

static long *shared;

static void on_trap(int number) {
  (void)number;
  ++shared[0];
}

static int trap_everything_but_exit(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  struct sigaction action = {.sa_handler = on_trap};
  if (sigaction(SIGSYS, &action, NULL)) return -1;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* System calls of `times` calls, made in a child in which none gets through; -1 where
 * the kernel has no such filters, -2 if the callable failed. */
long probe_kernel(void *callable, void *const *args, long count, long times) {
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return -1;
  const pid_t child = fork();
  if (child == 0) {
    if (trap_everything_but_exit()) _exit(1);
    _exit(call(callable, args, count, times) ? 2 : 0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
    munmap(shared, 4096);
    return -2;
  }
  const long found = WEXITSTATUS(status) ? -WEXITSTATUS(status) : shared[0];
  munmap(shared, 4096);
  return found;
}
