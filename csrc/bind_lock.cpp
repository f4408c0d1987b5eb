// Taking the interpreter's lock back. By itself, as it is compiled without exceptions:
// pthread_cleanup_push is then plain C. As an object with a destructor it would rely on
// the unwinder, of which the extension has a copy that the C library's does not go
// with.
#include <Python.h>
#include <pthread.h>
#include <unistd.h>

namespace {

void wait_for_ever(void*) {
  for (;;) pause();
}

}  // namespace

// Before Python 3.14 a thread that asks for the lock while the interpreter ends is
// ended by pthread_exit, which unwinds the stack: without the lock, through frames that
// hold Python objects and through destructors, where it aborts the process. As newer
// Pythons do it, such a thread waits for the end of the process instead.
void take_lock(PyThreadState* state) {
  pthread_cleanup_push(wait_for_ever, nullptr);
  PyEval_RestoreThread(state);
  pthread_cleanup_pop(0);
}
