"""A robot's actor from its ONNX file against ONNX Runtime: `python -m bench.robot`.

The network that rsl_rl and Isaac Lab train for quadrupeds: 235 observations, an empirical
normaliser, ELU layers of 512, 256 and 128, 12 actions. One file for both: `sa.from_onnx` reads it,
ONNX Runtime runs it on one thread with bound memory. Weights and statistics are random; of the
pruned network both get the same zeros.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.contenders import onnx_runtime, ours
from bench.machine import describe
from bench.masks import masks
from bench.run import isa_name
from bench.timing import Track, clock_cost, interleave, percentile, trial
from sparseagent.order import ORDERS

WIDTHS = (235, 512, 256, 128, 12)
SPARSITIES, BATCHES = (0.0, 0.8, 0.9, 0.95), (1, 8, 32)
_ARRAYS = 16


@dataclass(frozen=True)
class Robot:
    """One batch size of the network at one sparsity.

    Attributes:
        sparsity: fraction of zeros in every layer.
        batch: observations per call.
        ours_ns: median time of a call of the plan.
        onnx_ns: median time of a run of ONNX Runtime.
        ratio: how many times as fast the plan is.
    """

    sparsity: float
    batch: int
    ours_ns: float
    onnx_ns: float
    ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, print the table."""
    parser = sheet.arguments("robot", __doc__)
    parser.add_argument("--sparsities", nargs="+", type=float, default=list(SPARSITIES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line of the table")
    options = parser.parse_args(arguments)
    machine = describe(options.core)
    isa = isa_name(options.isa)
    order = isa if isa in ORDERS else None
    rows = []
    for sparsity in options.sparsities:
        policy = sa.from_onnx(model(sparsity, None), order=order)
        act = sa.compile(policy, threads=1, isa=isa)
        rows += [measure(act, sparsity, batch, options.seconds) for batch in options.batches]
    sheet.write(options.out, rows, machine, isa)
    print(f"{options.out}\n{'':16}{'sparseagent':>14}{'ONNX Runtime':>14}{'times':>8}")
    for row in rows:
        times = f"{row.ours_ns / 1e3:>11.2f} us{row.onnx_ns / 1e3:>11.2f} us{row.ratio:>8.1f}"
        print(f"{row.sparsity:<6}B={row.batch:<8}{times}")
    return 0


def measure(act: sa.Plan, sparsity: float, batch: int, seconds: float) -> Robot:
    """One row: both take turns in this process.

    Raises:
        AssertionError: they do not give the same actions.
    """
    rng = np.random.default_rng(batch)
    arrays = [3 * rng.standard_normal((batch, WIDTHS[0]), np.float32) for _ in range(_ARRAYS)]
    variants = (
        ours.variant(act, batch, "onnx"),
        onnx_runtime.variant(model(sparsity, batch), batch, WIDTHS[-1]),
    )
    tracks = []
    for variant in variants:
        wrapped = [variant.wrap(array) for array in arrays]
        variant.run(wrapped[0])
        tracks.append(Track(variant, wrapped, trial(variant, wrapped)))
        variant.run(wrapped[0])
    np.testing.assert_allclose(variants[0].read(), variants[1].read(), atol=2e-5)
    interleave(tracks, seconds, clock_cost())
    first, second = (percentile(track.calls, 0.5) for track in tracks)
    return Robot(sparsity, batch, first, second, second / first)


def model(sparsity: float, batch: int | None) -> bytes:
    """The file, for one batch size or for any."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = [(out, width) for width, out in itertools.pairwise(WIDTHS)]
    arrays = {
        "mean": rng.standard_normal((1, WIDTHS[0]), np.float32),
        "std": rng.random((1, WIDTHS[0]), np.float32) + np.float32(0.5),
    }
    nodes = [helper.make_node("Sub", ["x", "mean"], ["x0"])]
    nodes.append(helper.make_node("Div", ["x0", "std"], ["h0"]))
    kept = masks(rng, shapes, sparsity, "random")
    for number, (shape, mask) in enumerate(zip(shapes, kept, strict=True)):
        weight = np.where(mask, rng.standard_normal(shape, np.float32), np.float32(0))
        arrays[f"w{number}"] = weight * np.float32(np.sqrt(shape[0] / mask.sum()))
        arrays[f"b{number}"] = rng.standard_normal(shape[0], np.float32) * np.float32(0.1)
        last = number == len(shapes) - 1
        reads, gives = [f"h{number}", f"w{number}", f"b{number}"], "y" if last else f"g{number}"
        nodes.append(helper.make_node("Gemm", reads, [gives], transB=1))
        if not last:
            nodes.append(helper.make_node("Elu", [gives], [f"h{number + 1}"]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch or "batch", size])
        for name, size in (("x", WIDTHS[0]), ("y", WIDTHS[-1]))
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "robot", ports[:1], ports[1:], initializers)
    opset = [helper.make_opsetid("", onnx_runtime.OPSET)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=onnx_runtime.IR_VERSION)
    content: bytes = made.SerializeToString()
    return content


if __name__ == "__main__":
    raise SystemExit(main())
