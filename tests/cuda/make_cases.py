"""Cases for the CUDA kernels: policies, observations, and what the scalar reference makes of them.

A file is what tests/cuda/cases.cpp reads.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from networks import random_csr, random_policy
from programs import Draft, random_program, rows_for, several_inputs

import sparseagent as sa
from sparseagent.ops.norm import Norm
from sparseagent.program import Program, Span

#: Kinds of ops of random programs, as far as CUDA runs them.
KINDS = ["linear", "linear", "map", "norm", "combine", "reduce", "concat"]
#: In the order of the C++ enum DType.
DTYPES = ["float32", "float64", "uint8", "int8", "int32", "int64", "bool"]


def write_case(path: Path, policy: sa.SparsePolicy, rows: Mapping[str, Any]) -> None:
    """One file: the policy, observations by input `[batch, *shape]`, outputs and actions."""
    act = sa.compile(policy, isa="scalar", format="csr", tune=0)
    given = [np.ascontiguousarray(rows[name]) for name in policy.inputs]
    observation = dict(zip(policy.inputs, given, strict=True))
    outputs = act.outputs(observation)
    actions, _ = act.predict(observation)
    data = policy.to_bytes()
    dtypes = [DTYPES.index(str(array.dtype)) for array in given]
    arrays = [*given, *outputs.values(), actions]
    flags = [policy.head.samples, takes_masks(policy.head)]
    if policy.head.samples:
        arrays += sampled(act, observation, len(given[0]))
    header = np.array([len(data), len(given[0]), len(given), *dtypes, *flags], np.int64)
    path.write_bytes(header.tobytes() + data + b"".join(array.tobytes() for array in arrays))


def takes_masks(head: sa.Head) -> bool:
    """Whether some actions may be forbidden."""
    return head.kind in ("categorical", "multi_categorical")


def sampled(act: sa.Plan, observation: Any, batch: int) -> list[Any]:
    """Seed and step, numbers of environments, masks where the head takes any, and the sample."""
    head, size = act.policy.head, act.policy.output_size
    rng = np.random.default_rng(batch)
    rows = rng.permutation(1000)[:batch].astype(np.int64)
    masks = rng.random((batch, size)) < 0.8 if takes_masks(head) else None
    drawn = act.sample(observation, action_masks=masks, seed=2**63 + 5, step=2**40 + 3, rows=rows)
    arrays = [np.array([2**63 + 5, 2**40 + 3], np.uint64), rows]
    arrays += [] if masks is None else [masks]
    discrete = drawn.action.dtype == np.int64
    return [*arrays, drawn.action, *([] if discrete else [drawn.raw_action]), drawn.log_prob]


def wild(rng: Any, rows: Any) -> Any:
    """Some of the numbers become zeros, denormals, huge, Inf or NaN."""
    rows = rows.copy()
    places = rng.random(rows.shape) < 0.02
    rows[places] = rng.choice(
        np.array([np.nan, np.inf, -np.inf, -0.0, 1e-42, 1e38], np.float32), places.sum()
    )
    return rows


def head_for(rng: Any, program: Program, number: int) -> sa.Head:
    """Any kind of head that fits the first output."""
    size = next(iter(program.outputs.values())).size
    low = rng.uniform(-1, 0, size).astype(np.float32)
    box = sa.Box(low, low + rng.uniform(0.5, 1, size).astype(np.float32))
    some = int(rng.integers(1, size + 1))
    sizes = (some, *[1] * (size - some))
    heads = [
        *(sa.Raw(), sa.Argmax(), sa.Clip(box), sa.Unscale(box), sa.Bernoulli()),
        *(sa.Categorical(start=-3), sa.MultiCategorical(sizes, tuple(range(len(sizes))))),
        sa.DiagGaussian(np.zeros(size, np.float32), bounds=sa.Unscale(box), squash=True),
        sa.DiagGaussian(low, bounds=sa.Clip(box)),
        sa.EpsilonGreedy(0.5),
    ]
    return heads[number % len(heads)]


def gsde_case(path: Path, squash: bool) -> None:
    """Noise that depends on the state: the latent features are an output."""
    rng = np.random.default_rng(17 + squash)
    draft = Draft(rng)
    seen = draft.observe("observation", sa.Observation((6,)))
    latent = draft.linear((seen,), 12, activation="tanh")
    mean = draft.linear((latent,), 3, activation="identity")
    value = draft.linear((latent,), 1, activation="identity")
    program = Program(
        draft.slots, tuple(draft.ops), {"action": mean, "value": value, "latent": latent}
    )
    std = rng.uniform(0.1, 1, (12, 3)).astype(np.float32)
    policy = sa.SparsePolicy(program, sa.GSDE(std, resample=4, squash=squash))
    write_case(path, policy, {"observation": rows_for(rng, program, 33)})


def random_case(path: Path, seed: int, batch: int) -> None:
    """A random program; every other one sees numbers that are not finite."""
    rng = np.random.default_rng(seed)
    program = random_program(rng, kinds=KINDS)
    rows = rows_for(rng, program, batch)
    policy = sa.SparsePolicy(program, head_for(rng, program, seed))
    if seed % 2 == 0:
        rows = wild(rng, rows)
    write_case(path, policy, {"observation": rows})


def dtype_case(path: Path, seed: int, dtype: str, batch: int) -> None:
    """Observations of a type, and a step in double or in float."""
    rng = np.random.default_rng(seed)
    precision = ["float64", "float32"][seed % 2]
    step = sa.Observation(
        (5,),
        dtype,
        shift=rng.normal(size=5),
        scale=rng.uniform(0.1, 2, 5) if seed % 3 else np.array([3.0]),
        low=-2.5,
        high=3.0,
        precision=precision,
    )
    whole = dtype if np.dtype(dtype).kind in "iu" else "int64"
    some = np.array([0, 2, 3], np.int32)
    steps = [
        step,
        sa.Observation((4,), dtype, columns=some),
        sa.Observation((3,), whole, categories=(2, 3, 4)),
        sa.Observation(
            (4,), dtype, rng.normal(size=3), rng.uniform(1, 2, 3), precision=precision, columns=some
        ),
    ]
    draft = Draft(rng)
    spans = [draft.observe(f"x{k}", s) for k, s in enumerate(steps)]
    hidden = draft.linear(tuple(spans), 20, activation="tanh")
    program = Program(
        draft.slots,
        tuple(draft.ops),
        {"action": hidden, "seen": spans[0], "hot": spans[2], "some": spans[3]},
    )
    rows = {}
    for k, s in enumerate(steps):
        name = f"x{k}"
        shape = (batch, *s.shape)
        if np.dtype(dtype).kind == "f":
            rows[name] = (rng.normal(size=shape) * 2).astype(dtype)
        else:
            info = (0, 2) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            rows[name] = rng.integers(*info, shape, np.int64, dtype != "bool").astype(dtype)
    rows["x2"] = rng.integers(-1, 5, (batch, 3)).astype(whole)  # some name no category
    write_case(path, sa.SparsePolicy(program), rows)


def simba(rng: Any, inputs: int = 67, width: int = 128, actions: int = 21) -> Program:
    """SimBa's actor: residual blocks of norm, linear, relu, linear (Lee et al., 2024)."""
    draft = Draft(rng)
    seen = draft.observe(
        "observation",
        sa.Observation.normalise(
            rng.normal(size=inputs), rng.uniform(0.5, 2, inputs), eps=1e-8, clip=5
        ),
    )
    stream = draft.linear((seen,), width, activation="identity")
    for _ in range(2):
        wide = draft.linear((draft.norm(stream),), 4 * width, activation="relu")
        stream = draft.combine(stream, draft.linear((wide,), width, activation="identity"))
    mean = draft.linear((draft.norm(stream),), actions, activation="tanh")
    return Program(draft.slots, tuple(draft.ops), {"action": mean})


def norms(rng: Any) -> Program:
    """Every rule of norm, wide and narrow."""
    draft = Draft(rng)
    seen = draft.observe("observation", sa.Observation((37,)))
    outputs = {}
    for rule in ("layer", "rms", "l2"):
        span = draft.slot(37)
        draft.ops.append(Norm((seen,), (span,), rule, 1e-5))
        outputs[rule] = span
    short = draft.slot(3)
    draft.ops.append(Norm((Span(seen.slot, 4, 7),), (short,), "layer", 1e-5))
    action = draft.linear((*outputs.values(), short), 5, activation="identity")
    return Program(draft.slots, tuple(draft.ops), {"action": action, **outputs})


def wide_policy(rng: Any) -> sa.SparsePolicy:
    """348-1024-1024-1024-17 at 0.99: only narrow tiles hold it."""
    return random_policy(rng, (348, 1024, 1024, 1024, 17), 0.99, "elu")


def write_all(folder: Path, programs: int, batch: int = 70) -> list[Path]:
    """So many random programs, and all cases that are special; returns their paths."""
    paths = []

    def path(name: str) -> Path:
        paths.append(folder / f"{name}.case")
        return paths[-1]

    for seed in range(programs):
        random_case(path(f"random{seed}"), seed, batch)
    for seed, dtype in enumerate(DTYPES):
        dtype_case(path(dtype), seed, dtype, 35)
    gsde_case(path("gsde"), False)
    gsde_case(path("gsde_squashed"), True)
    rng = np.random.default_rng(7)
    program, rows = several_inputs(rng, 20)
    write_case(path("several"), sa.SparsePolicy(program), rows)
    policy = sa.SparsePolicy(simba(rng))
    write_case(path("simba"), policy, {"observation": rng.normal(size=(33, 67))})
    many = sa.SparsePolicy(
        sa.chain(
            (sa.Layer(random_csr(rng, 9, 300, 0.1, 64), rng.normal(size=9).astype(np.float32)),),
            sa.Observation((300,)),
        )
    )
    write_case(path("runs"), many, {"observation": rows_for(rng, many.program, 9)})
    normed = sa.SparsePolicy(norms(rng))
    write_case(path("norms"), normed, {"observation": rows_for(rng, normed.program, 40)})
    box = sa.Box(rng.uniform(-2, -1, 5), rng.uniform(1, 2, 5))
    stretched = random_policy(rng, (7, 20, 5), 0.5, "tanh", head=sa.Unscale(box))
    write_case(path("stretched"), stretched, {"observation": rows_for(rng, stretched.program, 40)})
    wide = wide_policy(rng)
    write_case(path("wide"), wide, {"observation": rows_for(rng, wide.program, 9)})
    return paths


if __name__ == "__main__":
    for written in write_all(Path(sys.argv[1]), int(sys.argv[2])):
        print(written)
