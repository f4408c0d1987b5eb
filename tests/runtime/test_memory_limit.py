"""Memory that runs out in a call is a MemoryError there, whichever thread wanted it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# A wide network, whose workspace is large. Calls of new plans with more and more memory,
# which is first too little for the caller, then for other threads; prints how often one was
# refused.
PROGRAM = """
import resource, sys
import numpy as np
import sparseagent as sa

rng = np.random.default_rng(0)
width = 1_000_000
indptr = np.arange(width + 1, dtype=np.int32)
first = sa.CSR((width, 8), indptr, rng.integers(0, 8, width).astype(np.int32),
               rng.normal(size=width).astype(np.float32))
last = sa.CSR((4, width), np.arange(0, width + 1, width // 4, dtype=np.int32),
              np.concatenate([np.sort(rng.permutation(width)[: width // 4]) for _ in range(4)])
              .astype(np.int32), rng.normal(size=width).astype(np.float32))
layers = (sa.Layer(first, np.zeros(width, np.float32), "relu"),
          sa.Layer(last, np.zeros(4, np.float32)))
policy = sa.SparsePolicy(sa.chain(layers, sa.Observation((8,))))
rows = rng.normal(size=(40, 8)).astype(np.float32)
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

unlimited = resource.getrlimit(resource.RLIMIT_AS)
refused, results = 0, []
for step in range(9):
    act = sa.compile(policy, threads=int(sys.argv[2]), tune=0)
    call = {
        "act": lambda: act(rows),
        "predict": lambda: act.predict(rows)[0],
        "time": lambda: act.time(rows, 1),
    }[sys.argv[1]]
    limit = used() + (1 << 20) + (step << 21)
    resource.setrlimit(resource.RLIMIT_AS, (limit, unlimited[1]))
    try:
        results.append(call())
    except MemoryError:
        refused += 1
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
expected = sa.compile(policy, tune=0)(rows)
assert results
assert sys.argv[1] == "time" or all(np.array_equal(result, expected) for result in results)
print(refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("call", ["act", "predict", "time"])
def test_a_call_without_memory_says_so_and_the_next_one_works(call: str, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, call, str(threads)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        # What was freed goes back at once: a call has to ask the system for its workspace.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 0
