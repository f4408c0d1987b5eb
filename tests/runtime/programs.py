"""Random programs: branches, residual streams, norms, concatenations, several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from networks import random_csr

import sparseagent as sa
from sparseagent.ops import Linear, Observe
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.ops.combine import Combine
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.pool import Pool
from sparseagent.ops.reduce import Reduce
from sparseagent.ops.window import Window
from sparseagent.program import Op, Program, Span

Float32 = np.ndarray
KINDS = ["linear", "linear", "conv2d", "pool", "map", "norm", "combine", "reduce", "concat"]


class Draft:
    """A program that grows op by op; every method gives the span of the new features."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.slots: dict[str, int] = {}
        self.ops: list[Op] = []

    def slot(self, size: int) -> Span:
        name = f"s{len(self.slots)}"
        self.slots[name] = size
        return Span(name, 0, size)

    def observe(self, name: str, step: sa.Observation, into: Span | None = None) -> Span:
        span = into or self.slot(step.size)
        self.ops.append(Observe((), (span,), name, step))
        return span

    def linear(
        self, reads: tuple[Span, ...], out: int, into: Span | None = None, **how: Any
    ) -> Span:
        rng, width = self.rng, sum(span.size for span in reads)
        name = how.get("activation", str(rng.choice(sorted(ACTIVATIONS))))
        runs = int(rng.choice([1, 1, 2, 3]))
        weight: Any = random_csr(rng, out, width, float(rng.choice([0, 0.5, 0.9])), runs)
        if rng.random() < 0.3:
            weight = (rng.normal(size=(out, width)) / np.sqrt(width)).astype(np.float32)
        layer = sa.Layer(weight, self.numbers(out), name, ACTIVATIONS[name])
        span = into or self.slot(out)
        self.ops.append(Linear(reads, (span,), layer))
        return span

    def numbers(self, size: int) -> Float32:
        return self.rng.normal(size=size).astype(np.float32)

    def map(self, read: Span) -> Span:
        rng = self.rng
        name = str(rng.choice(sorted(ACTIVATIONS)))
        affine = rng.random() < 0.5
        low, high = sorted(rng.normal(size=2)) if rng.random() < 0.5 else (None, None)
        span = self.slot(read.size)
        parts = (self.numbers(read.size), self.numbers(read.size)) if affine else (None, None)
        self.ops.append(Map((read,), (span,), name, ACTIVATIONS[name], *parts, low, high))
        return span

    def norm(self, read: Span) -> Span:
        span = self.slot(read.size)
        rule = str(self.rng.choice(["layer", "rms", "l2"]))
        self.ops.append(Norm((read,), (span,), rule, float(self.rng.choice([1e-6, 1e-5, 1e-2]))))
        return span

    def conv2d(self, read: Span, window: Window | None = None, **how: Any) -> Span:
        rng = self.rng
        window = window or random_window(rng, read.size)
        out = how.get("out", int(rng.integers(1, 10)))
        name = how.get("activation", str(rng.choice(sorted(ACTIVATIONS))))
        weight = random_taps(rng, out, window.taps)
        layer = sa.Layer(weight, self.numbers(out), name, ACTIVATIONS[name])
        span = self.slot(out * window.pixels)
        self.ops.append(Conv2d((read,), (span,), layer, window))
        return span

    def pool(self, read: Span, window: Window | None = None) -> Span:
        window = window or random_window(self.rng, read.size, farthest=1)
        span = self.slot(window.image[0] * window.pixels)
        self.ops.append(Pool((read,), (span,), window))
        return span

    def combine(self, first: Span, second: Span) -> Span:
        span = self.slot(first.size)
        rule = str(self.rng.choice(["add", "multiply", "lerp"]))
        weight = self.numbers(first.size) if rule == "lerp" else None
        self.ops.append(Combine((first, second), (span,), rule, weight))
        return span

    def reduce(self, read: Span) -> Span:
        rng = self.rng
        groups = int(rng.choice([g for g in range(1, read.size + 1) if read.size % g == 0]))
        rule = str(rng.choice(["mean", "softmax", "weighted_sum"]))
        span = self.slot(read.size if rule == "softmax" else groups)
        weight = self.numbers(read.size // groups) if rule == "weighted_sum" else None
        strided = bool(rng.random() < 0.5)
        self.ops.append(Reduce((read,), (span,), rule, groups, strided, weight))
        return span


def random_window(rng: Any, size: int, farthest: int = 2) -> Window:
    """Any image of `size` features, and a kernel that slides over it.

    Of a kernel whose taps are apart, all may lie outside.
    """

    def divisor(n: int) -> int:
        return int(rng.choice([d for d in range(1, n + 1) if n % d == 0]))

    channels = divisor(size)
    height = divisor(size // channels)
    image = (channels, height, size // channels // height)
    kernel, stride, padding, dilation = [], [], [], []
    for extent in image[1:]:
        k, d = int(rng.integers(1, min(4, extent + 2))), int(rng.integers(1, farthest + 1))
        spans = d * (k - 1) + 1
        least = max(0, -(-(spans - extent) // 2))
        pads = sorted(int(rng.integers(least, spans)) for _ in range(2))
        if rng.random() < 0.4:
            pads = [least, least]
        kernel.append(k)
        dilation.append(d)
        padding.append(pads)
        stride.append(int(rng.integers(1, 5)))
    (top, bottom), (left, right) = padding
    return Window(
        image,
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (top, left, bottom, right),
        (dilation[0], dilation[1]),
        bool(rng.random() < 0.3),
    )


def random_taps(rng: Any, out: int, taps: int) -> Any:
    """A matrix of taps: dense, scattered, in blocks of four channels, or in any order."""
    kind = rng.choice(["dense", "scattered", "blocks", "shuffled"])
    weight = (rng.normal(size=(out, taps)) / np.sqrt(taps)).astype(np.float32)
    if kind == "dense":
        return weight
    if kind == "shuffled":
        csr = random_csr(rng, out, taps, 0.5, 1)
        order = np.concatenate(
            [a + rng.permutation(b - a) for a, b in zip(csr.indptr, csr.indptr[1:], strict=False)]
        ).astype(np.int64)
        return sa.CSR(csr.shape, csr.indptr, csr.indices[order], csr.values[order])
    rows = 4 if kind == "blocks" else 1
    mask = rng.random((-(-out // rows), taps)) < rng.choice([0.05, 0.3, 0.7])
    return sa.CSR.from_dense(weight, np.repeat(mask, rows, axis=0)[:out])


def random_program(rng: Any, ops: int = 8, kinds: list[str] = KINDS) -> Program:
    """A program of about so many ops; every kind of op and of span occurs in some of them."""
    draft = Draft(rng)
    width = int(rng.integers(1, 70))
    spans = [draft.observe("observation", sa.Observation((width,)))]
    for _ in range(ops):
        read = spans[int(rng.integers(len(spans)))]
        kind = rng.choice(kinds)
        if kind == "linear":
            reads = (read, spans[0]) if rng.random() < 0.3 else (read,)
            spans.append(draft.linear(reads, int(rng.integers(1, 80))))
        elif kind == "combine":
            other = [span for span in spans if span.size == read.size]
            spans.append(draft.combine(read, other[int(rng.integers(len(other)))]))
        elif kind == "concat":
            sizes = [int(n) for n in rng.integers(1, 40, 2)]
            whole = draft.slot(sum(sizes))
            draft.linear((read,), sizes[0], Span(whole.slot, 0, sizes[0]))
            draft.linear((spans[0],), sizes[1], Span(whole.slot, sizes[0], sum(sizes)))
            start = int(rng.integers(0, whole.size))
            spans += [whole, Span(whole.slot, start, whole.size)]
        else:
            spans.append(getattr(draft, kind)(read))
    last = draft.linear((spans[-1],), int(rng.integers(1, 9)), activation="identity")
    value = draft.linear((spans[-1],), 1, activation="identity")
    return Program(draft.slots, tuple(draft.ops), {"action": last, "value": value})


def several_inputs(rng: Any, batch: int) -> tuple[Program, dict[str, Any]]:
    """Four inputs of every kind gathered into one slot, with a body; and `batch` observations."""
    draft = Draft(rng)
    whole = draft.slot(3 + 5 + 4 + 2)
    steps = {
        "velocity": sa.Observation.normalise(np.zeros(3), np.ones(3), eps=1e-8, clip=5),
        "goal": sa.Observation((2,), "int64", categories=(3, 2)),
        "image": sa.Observation((2, 1, 2), "uint8", scale=np.array([255.0])),
        "state": sa.Observation(
            (2,), shift=rng.normal(size=2), scale=rng.uniform(0.5, 2, 2), precision="float32"
        ),
    }
    start = 0
    for name, step in steps.items():
        draft.observe(name, step, Span(whole.slot, start, start + step.size))
        start += step.size
    hidden = draft.linear((whole,), 24, activation="silu")
    stream = draft.combine(hidden, draft.linear((draft.norm(hidden),), 24, activation="relu"))
    atoms = draft.reduce(draft.linear((stream, whole), 12, activation="identity"))
    action = draft.linear((draft.map(stream),), 3, activation="tanh")
    outputs = {"action": action, "value": Span(stream.slot, 2, 3), "atoms": atoms}
    given = {
        "velocity": rng.normal(size=(batch, 3)).astype(np.float32),
        "goal": np.stack([rng.integers(0, n, batch) for n in (3, 2)], axis=1),
        "image": rng.integers(0, 256, (batch, 2, 1, 2), np.uint8),
        "state": rng.normal(size=(batch, 2)).astype(np.float32),
    }
    return Program(draft.slots, tuple(draft.ops), outputs), given


def rows_for(rng: Any, program: Program, batch: int) -> Float32:
    """Observations float32 `[batch, in]` for a program with one input."""
    (step,) = [op.step for op in program.ops if isinstance(op, Observe)]
    return rng.normal(size=(batch, *step.shape)).astype(np.float32)
