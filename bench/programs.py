"""Residual networks, norms and groups against ONNX Runtime: `python -m bench.programs`.

The policies that are no plain chain of layers, as current work trains them: SimBa (Lee et al.,
2024) with its small actor and its wide trunk, BroNet (Nauman et al., 2024), SimbaV2 (Lee et al.,
2025), and
QR-DQN (Dabney et al., 2018) with its quantiles averaged within. CrossQ's batch norms and QR-DQN's
mean fold into layers at conversion: those two are chains then, of the shapes listed here. Masks are
random, the same sparsity in every layer. Rows as those of `bench.run`, in a file of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.cell import Setting
from bench.contenders import onnx_runtime, ours
from bench.grid import AUTO, Grid, p50
from bench.machine import describe
from bench.masks import masks
from bench.nets import Case
from bench.results import latest, read
from bench.run import Task, isa_name, measure, report_failures
from bench.timing import clock_cost, forward_clock_cost
from sparseagent.ops import Linear, Observe
from sparseagent.ops.combine import Combine
from sparseagent.ops.map import Map
from sparseagent.ops.norm import Norm
from sparseagent.ops.reduce import Reduce
from sparseagent.program import Op, Program, Span

SPARSITIES, BATCHES = (0.0, 0.8, 0.9, 0.95), (1, 8, 32)


class Sketch:
    """A program that grows op by op; each method gives the span of the new features."""

    def __init__(self, name: str, inputs: int, sparsity: float) -> None:
        self._rng = np.random.default_rng([zlib.crc32(name.encode()), round(sparsity * 10_000)])
        self._sparsity = sparsity
        self._slots: dict[str, int] = {}
        self._ops: list[Op] = []
        self.inputs = self._new(inputs)
        step = sa.Observation((inputs,))
        self._ops.append(Observe((), (self.inputs,), "observation", step))

    def linear(self, x: Span, out: int, activation: str = "identity") -> Span:
        """He-scaled weights under a random mask."""
        rng = self._rng
        (mask,) = masks(rng, [(out, x.size)], self._sparsity, "random")
        weight = np.zeros(mask.shape, np.float32)
        weight[mask] = rng.standard_normal(int(mask.sum()), np.float32)
        weight *= np.float32(np.sqrt(2.0 * out / mask.sum()))
        bias = rng.standard_normal(out, np.float32) * np.float32(0.1)
        layer = sa.Layer(sa.CSR.from_dense(weight, mask), bias, activation)
        return self._add(out, lambda span: Linear((x,), (span,), layer))

    def norm(self, x: Span, rule: str = "layer", eps: float = 1e-6) -> Span:
        """Layer norm, or another rule of `Norm`."""
        return self._add(x.size, lambda span: Norm((x,), (span,), rule, eps))

    def add(self, x: Span, y: Span) -> Span:
        """A residual."""
        return self._add(x.size, lambda span: Combine((x, y), (span,), "add"))

    def lerp(self, x: Span, y: Span) -> Span:
        """`x + a (y - x)` with a of every feature."""
        weight = self._rng.uniform(0.05, 0.4, x.size).astype(np.float32)
        return self._add(x.size, lambda span: Combine((x, y), (span,), "lerp", weight))

    def relu(self, x: Span) -> Span:
        """An activation that stands behind no layer."""
        return self._add(x.size, lambda span: Map((x,), (span,), "relu"))

    def mean(self, x: Span, groups: int) -> Span:
        """Of every `groups`-th feature, as `view(-1, n, groups).mean(1)`."""
        return self._add(groups, lambda span: Reduce((x,), (span,), "mean", groups, True))

    def policy(self, last: Span) -> sa.SparsePolicy:
        """The policy whose action is `last`."""
        return sa.SparsePolicy(Program(self._slots, tuple(self._ops), {"action": last}))

    def _new(self, size: int) -> Span:
        name = f"x{len(self._slots)}"
        self._slots[name] = size
        return Span(name, 0, size)

    def _add(self, size: int, op: Callable[[Span], Op]) -> Span:
        span = self._new(size)
        self._ops.append(op(span))
        return span


def simba(sketch: Sketch, width: int, blocks: int, out: int) -> Span:
    """Residual blocks `x + W2 relu(W1 norm(x))` of four times the width, and a last norm."""
    x = sketch.linear(sketch.inputs, width)
    for _ in range(blocks):
        x = sketch.add(x, sketch.linear(sketch.linear(sketch.norm(x), 4 * width, "relu"), width))
    return sketch.linear(sketch.norm(x), out)


def bronet(sketch: Sketch, width: int, blocks: int, out: int) -> Span:
    """Norms behind the layers; blocks `x + norm(W2 relu(norm(W1 x)))`."""
    x = sketch.relu(sketch.norm(sketch.linear(sketch.inputs, width), eps=1e-5))
    for _ in range(blocks):
        y = sketch.relu(sketch.norm(sketch.linear(x, width), eps=1e-5))
        x = sketch.add(x, sketch.norm(sketch.linear(y, width), eps=1e-5))
    return sketch.linear(x, out)


def simba_v2(sketch: Sketch, width: int, blocks: int, out: int) -> Span:
    """Every row on the unit sphere; blocks interpolate between the row and what they make of it."""
    x = sketch.norm(sketch.linear(sketch.norm(sketch.inputs, "l2"), width), "l2")
    for _ in range(blocks):
        y = sketch.linear(sketch.linear(x, 4 * width, "relu"), width)
        x = sketch.norm(sketch.lerp(x, sketch.norm(y, "l2")), "l2")
    return sketch.linear(x, out)


def chain(sketch: Sketch, width: int, blocks: int, out: int) -> Span:
    """A plain MLP with relu."""
    x = sketch.inputs
    for _ in range(blocks):
        x = sketch.linear(x, width, "relu")
    return sketch.linear(x, out)


def quantiles(sketch: Sketch, width: int, blocks: int, out: int) -> Span:
    """The same with 200 quantiles of every output, and their mean as an op."""
    return sketch.mean(chain(sketch, width, blocks, 200 * out), out)


#: How each is drawn: inputs, width, blocks or hidden layers, outputs.
PROGRAMS: dict[str, tuple[Callable[[Sketch, int, int, int], Span], int, int, int, int]] = {
    "SimBa 51-128x1-42": (simba, 51, 128, 1, 42),
    "SimBa 51-512x2-42": (simba, 51, 512, 2, 42),
    "BroNet 51-256x2-42": (bronet, 51, 256, 2, 42),
    "SimbaV2 51-128x1-42": (simba_v2, 51, 128, 1, 42),
    "CrossQ 17-256-256-6": (chain, 17, 256, 2, 6),
    "QR-DQN 8-256-256-6": (chain, 8, 256, 2, 6),
    "QR-DQN 8-256-256-6x200": (quantiles, 8, 256, 2, 6),
}


def case(name: str, sparsity: float) -> Case:
    """The program of that name under random masks."""
    draw, inputs, width, blocks, out = PROGRAMS[name]
    sketch = Sketch(name, inputs, sparsity)
    policy = sketch.policy(draw(sketch, width, blocks, out))
    return Case(name, "random", round(sparsity, 4), policy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print how many times faster than ONNX Runtime each is."""
    parser = sheet.arguments("programs", __doc__)
    parser.add_argument("--programs", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    parser.add_argument("--sparsities", nargs="+", type=float, default=list(SPARSITIES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=1.5, help="for each cell")
    parser.add_argument("--again", action="store_true", help="measure what is in the file, too")
    options = parser.parse_args(arguments)
    isa = isa_name(options.isa)
    machine = describe(options.core)
    setting = Setting(machine, isa, options.seconds, clock_cost(), forward_clock_cost())
    chosen = [ours.contender("auto", isa), ours.contender("dense", isa), onnx_runtime.CONTENDER]
    tasks = [
        Task(case(name, sparsity), batch, chosen)
        for name in options.programs
        for batch in options.batches
        for sparsity in options.sparsities
    ]
    failures = measure(tasks, setting, options.out, again=options.again)
    grid = Grid.of(latest(read(options.out)), isa)
    for name in options.programs:
        for batch in options.batches:
            rows = [grid.cell(name, "random", s, batch) for s in options.sparsities]
            times = [p50(row, onnx_runtime.CONTENDER.name) / p50(row, AUTO) for row in rows]
            text = ", ".join(
                f"{s:g} {x:.1f}x" for s, x in zip(options.sparsities, times, strict=True)
            )
            print(f"{name} B={batch}: {text}")
    return report_failures(failures)


if __name__ == "__main__":
    raise SystemExit(main())
