"""What a policy file may cost: memory and time in proportion to its size, whoever wrote it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_policy

import sparseagent as sa
from sparseagent.policy import MAX_GOLDEN
from sparseagent.policyfile import MEMORY_FIXED, MEMORY_PER_BYTE, PolicyFileError, from_bytes
from sparseagent.program import MAX_OPS

# The same in a process of its own, which says how its peak has grown.
COST = """
import sys, time
import numpy as np
import sparseagent as sa

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak"))

layer = sa.Layer(np.ones((1, 1), np.float32), np.zeros(1, np.float32))
sa.compile(sa.SparsePolicy(sa.chain((layer,), sa.Observation((1,)))))
before, start = peak(), time.process_time()
policy = sa.load(sys.argv[1])
act = sa.compile(policy, tune=float(sys.argv[2]))
act(np.zeros((policy.input_size,), np.float32))
act(np.zeros((200, policy.input_size), np.float32)) if policy.input_size < 4096 else None
print(peak() - before, time.process_time() - start)
"""


# The core's reader alone, which is given the metadata too.
READER = """
import sys
from pathlib import Path
from sparseagent import _core

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak"))

data = Path(sys.argv[1]).read_bytes()
before = peak()
_core.Plan(data, "", "", 1, 0.0, [], [])
print(peak() - before)
"""


def zeros(count: int) -> np.ndarray[Any, Any]:
    return np.zeros(count, np.float32)


def csr(out: int, width: int, lengths: Any, columns: Any, runs: int = 1) -> sa.Layer:
    """A layer of ones: how long each chain is, and its columns."""
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    indices = np.asarray(columns, np.int32)
    ones = np.ones(indices.size, np.float32)
    return sa.Layer(sa.CSR((out, width), indptr, indices, ones, runs), zeros(out), "relu")


def policy_of(*layers: sa.Layer, **parts: Any) -> sa.SparsePolicy:
    return sa.SparsePolicy(sa.chain(layers, sa.Observation((layers[0].shape[1],))), **parts)


def empty_runs(size: int) -> sa.SparsePolicy:
    """64 chains a row with nothing in them."""
    out = size // (4 * 65)
    return policy_of(csr(out, 1, np.zeros(64 * out, int), [], runs=64))


def one_long_chain_in_64(size: int) -> sa.SparsePolicy:
    """Lookups would walk the long one with 63 idle lanes beside it."""
    long = 4000
    groups = max(1, size // (6 * long))
    lengths = np.zeros(64 * groups, int)
    lengths[::64] = long
    return policy_of(csr(32 * groups, 4096, lengths, np.tile(np.arange(long), groups), runs=2))


def one_wide_row(size: int) -> sa.SparsePolicy:
    """A dense copy would hold fifty times as many weights, in 16 rows."""
    kept = min(size // 8, (1 << 20) // 47)
    return policy_of(csr(1, 47 * kept, [kept], np.arange(kept)))


def many_layers(size: int) -> sa.SparsePolicy:
    return policy_of(*[csr(1, 1, [1], [0])] * min(size // 600, MAX_OPS - 1))


def many_facts(size: int) -> sa.SparsePolicy:
    return policy_of(csr(1, 1, [1], [0]), metadata={"facts": [{}] * (min(size, 3_900_000) // 5)})


def facts_within_facts(size: int) -> sa.SparsePolicy:
    """Two bytes of JSON for every list."""
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested]
    # Within what a header may have.
    count = min(size, 3_900_000) // 124
    return policy_of(csr(1, 1, [1], [0]), metadata={"facts": [nested] * count})


def facts_by_name(size: int) -> sa.SparsePolicy:
    """Objects of one short member."""
    return policy_of(csr(1, 1, [1], [0]), metadata={"facts": [{"": 0}] * (size // 12)})


def widest_input(_: int) -> sa.SparsePolicy:
    """A file of a few hundred bytes."""
    return policy_of(csr(1, 1 << 20, [1], [5]))


def pruned(size: int) -> sa.SparsePolicy:
    """An honest one, for comparison: 5 per cent of the weights left."""
    width = int((size / 6 / 0.05) ** 0.5)
    return random_policy(np.random.default_rng(0), (width, width), 0.95)


BOMBS = [
    empty_runs,
    one_long_chain_in_64,
    one_wide_row,
    many_layers,
    many_facts,
    facts_within_facts,
    widest_input,
    pruned,
]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("tune", [30, 0])
@pytest.mark.parametrize("size", [1_000_000, 4_000_000])
@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_stays_in_proportion(
    bomb: Callable[[int], sa.SparsePolicy], size: int, tune: float, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    bomb(size).save(path)
    done = subprocess.run(
        [sys.executable, "-c", COST, path, str(tune)],
        check=True,
        capture_output=True,
        cwd=Path(sa.__file__).parents[1],
    )
    grown, seconds = map(float, done.stdout.split())
    assert grown <= MEMORY_FIXED + MEMORY_PER_BYTE * path.stat().st_size
    assert seconds < 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("bomb", [many_facts, facts_within_facts, facts_by_name, many_layers])
@pytest.mark.parametrize("size", [1_000_000, 3_900_000])
def test_the_core_reads_json_in_proportion(
    bomb: Callable[[int], sa.SparsePolicy], size: int, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    bomb(size).save(path)
    done = subprocess.run(
        [sys.executable, "-c", READER, path],
        check=True,
        capture_output=True,
        cwd=Path(sa.__file__).parents[1],
    )
    grown = float(done.stdout)
    print(f"{grown / path.stat().st_size:.0f} bytes for each of the file's")
    assert grown <= MEMORY_FIXED + MEMORY_PER_BYTE * path.stat().st_size


def test_a_self_test_has_a_limit() -> None:
    policy = random_policy(np.random.default_rng(0), (3, 4), 0.5)
    assert policy.with_golden(np.zeros((MAX_GOLDEN, 3))).golden is not None
    message = f"golden: expected 1 to {MAX_GOLDEN} observations, got {MAX_GOLDEN + 1}"
    with pytest.raises(ValueError, match=message):
        policy.with_golden(np.zeros((MAX_GOLDEN + 1, 3)))
    golden = np.zeros((MAX_GOLDEN + 1, 3), np.float32)
    with pytest.raises(ValueError, match=message):
        sa.Golden(golden, golden, golden)


def test_a_self_test_beyond_the_limit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparseagent import policy as one
    from sparseagent import policyfile as other

    policy = random_policy(np.random.default_rng(0), (3, 4), 0.5)
    with monkeypatch.context() as patched:
        for module in (one, other):
            patched.setattr(module, "MAX_GOLDEN", 1 << 20)
        data = policy.with_golden(np.zeros((5000, 3))).to_bytes()
    with pytest.raises(PolicyFileError, match=f"expected 1 to {MAX_GOLDEN} obs.*, got 5000"):
        from_bytes(data)


@pytest.mark.parametrize(
    "shape", [(1,) * 33, (1 << 21,), (1 << 11, 1 << 10), (2**62, 2**62), (9,) * 100_000]
)
def test_an_observation_is_no_wider_than_a_layer(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape: expected at most 32 axes and 1048576 features"):
        sa.Observation(shape)


def test_wide_layers_take_fewer_observations_side_by_side() -> None:
    def widest(inputs: int) -> int:
        act = sa.compile(policy_of(csr(1, inputs, [1], [0])), tune=0)
        return max(regime["observations"] for regime in act.tuning["regimes"])

    everything = widest(8)
    assert widest(3900) == everything
    assert widest(1 << 14) < everything
    assert widest(1 << 20) == 1
