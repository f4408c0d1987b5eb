"""`act(obs, out)` neither allocates, nor locks, nor enters the kernel: counted, not timed.

`probe.c` is compiled and preloaded into a fresh interpreter, whose objects come from `malloc` too
(`PYTHONMALLOC=malloc`). It makes the calls from C, so that nothing of a Python loop is counted.

Calls of more than about 50 us give the interpreter's lock up and take it back, which are locks by
intent; those here are shorter by the plan's rule of thumb (`tune=0`), on any machine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = 200
SOURCE = Path(__file__).with_name("probe.c")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(
        platform.libc_ver()[0] != "glibc" or COMPILER is None,
        reason="needs glibc and a C compiler",
    ),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer has the allocator"
    ),
]

# Runs in the interpreter with the probe. Prints {case: [allocations, locks, system calls]}.
PROGRAM = """
import ctypes, gc, itertools, json, os, sys
import numpy as np
import sparseagent as sa

probe, calls = ctypes.PyDLL(sys.argv[1]), int(sys.argv[2])
probe.probe_kernel.restype = ctypes.c_long

def count(call, *args):
    array = (ctypes.py_object * max(1, len(args)))(*map(ctypes.py_object, args))
    rest = (ctypes.py_object(call), array, ctypes.c_long(len(args)))
    found = (ctypes.c_long * 2)()
    for times in (1, calls):  # the first call may set things up
        if probe.probe_library(*rest, ctypes.c_long(times), found):
            raise RuntimeError("the call failed")
    return [*found, probe.probe_kernel(*rest, ctypes.c_long(calls))]

def policy_of(sizes, activation):
    rng = np.random.default_rng(0)
    layers = []
    for width, out in zip(sizes[:-1], sizes[1:]):
        dense = rng.standard_normal((out, width)).astype(np.float32)
        dense[np.repeat(rng.random((-(-out // 16), width)) < 0.9, 16, axis=0)[:out]] = 0
        bias = rng.standard_normal(out).astype(np.float32)
        layers.append(sa.Layer(sa.CSR.from_dense(dense), bias, activation))
    return sa.SparsePolicy(sa.chain(tuple(layers), sa.Observation((sizes[0],))))

gc.disable()
results = {}
mutex = ctypes.create_string_buffer(64)  # zeros: an unlocked mutex
results["getpid"] = count(os.getpid)
results["lock"] = count(ctypes.PyDLL(None).pthread_mutex_trylock, mutex)
for name, sizes, activation in (("S", (8, 64, 64, 4), "tanh"), ("M", (17, 128, 128, 6), "relu")):
    policy = policy_of(sizes, activation)
    for info in sa.kernels():
        orders = ["ascending", *({info.name} & {"avx2", "avx512", "neon"})]
        for order, format in itertools.product(orders, ["auto", *info.formats]):
            try:
                packed = policy.repack(order)
                act = sa.compile(packed, isa=info.name, format=format, threads=1, tune=0)
            except ValueError:  # not on this machine, or a format that cannot follow the order
                continue
            for batch in (1, 3, 19) if info.lanes > 1 else (1, 3):
                obs = np.zeros((batch, sizes[0]), np.float32)
                out = np.zeros((batch, sizes[-1]), np.float32)
                if batch == 1:
                    obs, out = obs[0], out[0]
                case = f"{name} {info.name} {order} {format} {batch}"
                results[case] = count(act, obs, out)
                results[f"returning {case}"] = count(act, obs)
            results[f"prefetch {name} {info.name} {order} {format}"] = count(act.prefetch)
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    folder = tmp_path_factory.mktemp("probe")
    library = folder / "probe.so"
    assert COMPILER is not None
    flags = ["-O1", "-fno-builtin", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [COMPILER, *flags, str(SOURCE), "-o", str(library), "-ldl", "-lpthread"], check=True
    )
    preload = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
    environment = {**os.environ, "LD_PRELOAD": ":".join(preload), "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(library), str(CALLS)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {name: list(found) for name, found in json.loads(done.stdout).items()}


def test_the_harness_sees_what_it_counts(counts: dict[str, list[int]]) -> None:
    assert counts["lock"][1] == CALLS
    allocated = [found for name, found in counts.items() if name.startswith("returning")]
    assert allocated
    assert all(found[0] >= 2 * CALLS for found in allocated)  # an array and its release each
    if counts["getpid"][2] == -1:
        pytest.skip("this kernel has no seccomp filters")
    assert counts["getpid"][2] == CALLS


def test_a_call_into_out_allocates_nothing(counts: dict[str, list[int]]) -> None:
    assert {name: found for name, found in _calls(counts).items() if found[0]} == {}


def test_a_call_into_out_takes_no_lock(counts: dict[str, list[int]]) -> None:
    assert {name: found for name, found in _calls(counts).items() if found[1]} == {}


def test_a_call_into_out_makes_no_system_call(counts: dict[str, list[int]]) -> None:
    if counts["getpid"][2] == -1:
        pytest.skip("this kernel has no seccomp filters")
    assert {name: found for name, found in _calls(counts).items() if found[2]} == {}


def test_a_prefetch_allocates_nothing_after_the_first(counts: dict[str, list[int]]) -> None:
    found = {name: few for name, few in counts.items() if name.startswith("prefetch ")}
    assert len(found) >= 5
    assert {name: few for name, few in found.items() if few[0]} == {}


def _calls(counts: dict[str, list[int]]) -> dict[str, list[int]]:
    chosen = {name: found for name, found in counts.items() if name.startswith(("S ", "M "))}
    assert len(chosen) >= 16
    return chosen
