"""The interpreter ends while another thread is in the core: no message, exit code 0."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A daemon thread repeats one call for ever; the main thread ends while it does.
PROGRAM = """
import sys, threading, time
import numpy as np
import sparseagent as sa

rng = np.random.default_rng(0)
sizes = (64, 256, 256, 8)
layers = tuple(
    sa.Layer(rng.normal(size=(out, width)).astype(np.float32), np.zeros(out, np.float32))
    for width, out in zip(sizes, sizes[1:])
)
policy = sa.SparsePolicy(sa.chain(layers, sa.Observation((64,))))
name, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
act = sa.compile(policy, threads=threads, tune=0)
rows = rng.normal(size=(batch, 64)).astype(np.float32)
call = {
    "act": lambda: act(rows),
    "predict": lambda: act.predict(rows),
    "time": lambda: act.time(rows, 3),
    "compile": lambda: sa.compile(policy, threads=threads, tune=1),
}[name]
called = threading.Event()

def repeat():
    while True:
        call()
        called.set()

threading.Thread(target=repeat, daemon=True).start()
called.wait()
time.sleep(float(sys.argv[4]))
"""


@pytest.mark.parametrize(
    ("call", "batch", "threads"),
    [
        ("act", 600, 1),
        ("act", 20_000, 1),
        ("act", 20_000, 2),
        ("predict", 600, 1),
        ("time", 600, 1),
        ("compile", 1, 2),
    ],
)
def test_the_interpreter_ends_while_a_daemon_thread_is_in_a_call(
    call: str, batch: int, threads: int
) -> None:
    for trial in range(4):
        arguments = [call, str(batch), str(threads), str(0.003 * trial)]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
