"""On a GPU: `pytest -m gpu`. Bits against the CPU's plan, streams, graphs, sanitizers.

Nothing here has run yet: no GPU was at hand. Where there is none, all of it is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_cases import DTYPES, KINDS, head_for, simba, wide_policy, wild
from networks import random_policy, same_bits
from programs import random_program, rows_for, several_inputs

import sparseagent as sa

REASONS = [d.description for d in sa.devices() if d.name.startswith("cuda") and not d.available]
if not REASONS and not torch.cuda.is_available():
    REASONS = ["this torch has no CUDA"]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(REASONS), reason=f"needs a GPU: {''.join(REASONS)}"),
]

BATCHES = [*range(1, 261), 1023, 4096, 4097, 65537]
NETS = {
    "M": ((17, 256, 256, 6), 0.9, "relu"),
    "P128": ((48, 128, 128, 128, 12), 0.8, "silu"),
    "G1": ((123, 512, 256, 128, 37), 0.95, "elu"),
    "dense": ((60, 128, 64, 8), 0.0, "tanh"),
}


def policy_of(name: str) -> sa.SparsePolicy:
    rng = np.random.default_rng(11)
    if name == "simba":
        return sa.SparsePolicy(simba(rng))
    if name == "XL":
        return wide_policy(rng)
    if name.startswith("random"):
        seed = int(name[6:])
        rng = np.random.default_rng(seed)
        program = random_program(rng, kinds=KINDS)
        return sa.SparsePolicy(program, head_for(rng, program, seed))
    sizes, sparsity, activation = NETS[name]
    runs = 3 if name == "P128" else 1
    return random_policy(rng, sizes, sparsity, activation, runs)


def observations(policy: sa.SparsePolicy, batch: int) -> Any:
    rng = np.random.default_rng(batch)
    return wild(rng, rows_for(rng, policy.program, batch))


def on_gpu(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).cuda()


@pytest.mark.parametrize("name", [*NETS, "simba", "XL", *(f"random{n}" for n in range(12))])
def test_every_batch_has_the_bits_of_the_cpu(name: str) -> None:
    policy = policy_of(name)
    plan, cpu = sa.compile(policy, device="cuda"), sa.compile(policy, tune=0)
    most = max(BATCHES) if name in NETS else 4097
    x = observations(policy, most)
    whole = cpu(x)
    device = on_gpu(x)
    for batch in (b for b in BATCHES if b <= most):
        assert same_bits(plan(device[:batch]).cpu().numpy(), whole[:batch]), batch


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_every_type_of_observations(dtype: str, precision: str) -> None:
    rng = np.random.default_rng(0)
    step = sa.Observation(
        (9,), dtype, shift=rng.normal(size=9), scale=rng.uniform(0.1, 2, 9), precision=precision
    )
    policy = random_policy(rng, (9, 32, 4), 0.5, "gelu", observation=step, head=sa.Argmax())
    x = (rng.normal(size=(333, 9)) * 3).astype(dtype)
    expected, _ = sa.compile(policy, tune=0).predict(x)
    actions, _ = sa.compile(policy, device="cuda").predict(on_gpu(x))
    assert same_bits(actions.cpu().numpy(), expected)


def test_dicts_and_all_outputs() -> None:
    program, given = several_inputs(np.random.default_rng(4), 300)
    policy = sa.SparsePolicy(program)
    expected = sa.compile(policy, tune=0).outputs(given)
    found = sa.compile(policy, device="cuda").outputs({k: on_gpu(v) for k, v in given.items()})
    for name, array in expected.items():
        assert same_bits(found[name].cpu().numpy(), array)


def test_a_call_neither_allocates_nor_waits() -> None:
    policy = policy_of("M")
    plan = sa.compile(policy, device="cuda")
    x, out = on_gpu(observations(policy, 4096)), torch.empty(4096, 6, device="cuda")
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    free = torch.cuda.mem_get_info()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        plan(x, out)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
    assert torch.cuda.mem_get_info() == free
    assert same_bits(out.cpu().numpy(), sa.compile(policy, tune=0)(x.cpu().numpy()))


def test_two_streams_at_once() -> None:
    policies = [policy_of("M"), policy_of("G1")]
    plans = [sa.compile(policy, device="cuda") for policy in policies]
    inputs = [on_gpu(observations(policy, 5000)) for policy in policies]
    expected = [
        sa.compile(policy, tune=0)(x.cpu().numpy())
        for policy, x in zip(policies, inputs, strict=True)
    ]
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    outputs: list[list[torch.Tensor]] = [[], []]
    torch.cuda.synchronize()
    for _ in range(20):
        for k, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                outputs[k].append(plans[k](inputs[k]))
    torch.cuda.synchronize()
    for k in range(2):
        assert all(same_bits(y.cpu().numpy(), expected[k]) for y in outputs[k])


def test_a_captured_graph_sees_updates() -> None:
    policy = policy_of("M")
    plan = sa.compile(policy, device="cuda")
    x, out = on_gpu(observations(policy, 1000)), torch.empty(1000, 6, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan(x, out)
    rng = np.random.default_rng(1)
    for _ in range(3):
        values = [rng.normal(size=layer.weight.values.shape) for layer in policy.layers]
        biases = [rng.normal(size=layer.shape[0]) for layer in policy.layers]
        policy = policy.with_values(
            [v.astype(np.float32) for v in values], [b.astype(np.float32) for b in biases]
        )
        plan.update(policy, stream=torch.cuda.current_stream())
        rows = observations(policy, 1000)[rng.permutation(1000)]
        x.copy_(torch.from_numpy(rows))
        graph.replay()
        assert same_bits(out.cpu().numpy(), sa.compile(policy, tune=0)(rows))


@pytest.mark.parametrize("library", ["cupy", "jax", "warp"])
def test_other_libraries(library: str) -> None:
    module = pytest.importorskip(library)
    policy = policy_of("M")
    plan = sa.compile(policy, device="cuda")
    rows = observations(policy, 77)
    if library == "jax":
        x = module.device_put(rows, module.devices("cuda")[0])
    elif library == "warp":
        x = module.array(rows, dtype=module.float32, device="cuda:0")
    else:
        x = module.asarray(rows)
    y = plan(x)
    assert type(y).__module__.partition(".")[0] == type(x).__module__.partition(".")[0]
    host = y.get() if library == "cupy" else y.numpy() if library == "warp" else np.asarray(y)
    assert same_bits(host, sa.compile(policy, tune=0)(rows))


def test_memory_of_another_device() -> None:
    plan = sa.compile(policy_of("M"), device="cuda")
    with pytest.raises(ValueError, match="got one that is not in the memory of a GPU"):
        plan(torch.zeros(3, 17))


def test_time_is_that_of_the_device() -> None:
    policy = policy_of("M")
    plan = sa.compile(policy, device="cuda")
    times = plan.time(on_gpu(observations(policy, 4096)), 50)
    assert times.shape == (50,)
    assert 1e3 < np.median(times) < 1e7


SANITIZED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import numpy as np, torch
import sparseagent as sa
from make_cases import KINDS
from programs import random_program, rows_for
for seed in range(20):
    rng = np.random.default_rng(seed)
    policy = sa.SparsePolicy(random_program(rng, kinds=KINDS))
    plan = sa.compile(policy, device="cuda")
    for batch in (1, 9, 300):
        x = torch.from_numpy(rows_for(rng, policy.program, batch)).cuda()
        assert plan(x).isfinite is not None
torch.cuda.synchronize()
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer on PATH")
    folders = [Path(__file__).parent, Path(__file__).parents[1] / "runtime"]
    done = subprocess.run(
        [
            *(sanitizer, "--tool", tool, "--error-exitcode", "1", "--kernel-name"),
            *("kernel_substring=sparseagent", sys.executable, "-c", SANITIZED),
            ":".join(str(folder) for folder in folders),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
