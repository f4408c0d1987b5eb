"""What new weights under the same masks cost: `python -m bench.update`.

`plan.update(policy)` against copying the same values and biases from array to array, in turns. The
updates alternate between two policies; afterwards the plan must give the second one's bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.contenders import Variant, ours
from bench.machine import describe
from bench.nets import NETS, Float32, Net, aligned_copy, observations, random_case
from bench.run import isa_name
from bench.timing import Track, clock_cost, interleave, percentile, trial
from bench.verify import WrongResultError
from sparseagent.reference import forward_exact


@dataclass(frozen=True)
class Update:
    """One net.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        nonzeros: weights that are copied.
        update_ns: median time of `plan.update`.
        copy_ns: median time of copying the values and biases with `np.copyto`.
        ratio: `update_ns / copy_ns`.
    """

    net: str
    sparsity: float
    nonzeros: int
    update_ns: float
    copy_ns: float
    ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, print the table."""
    parser = sheet.arguments("update", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each net")
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows = [measure(NETS[name], options.sparsity, isa, options.seconds) for name in options.nets]
    sheet.write(options.out, rows, machine, isa)
    print(options.out)
    for row in rows:
        times = f"update {row.update_ns / 1e3:.2f} us, copy {row.copy_ns / 1e3:.2f} us"
        print(f"{row.net:<4}{row.nonzeros:>8} weights: {times}, {row.ratio:.2f}x")
    return 0


def measure(net: Net, sparsity: float, isa: str, seconds: float) -> Update:
    """Time both ways for one net.

    Raises:
        WrongResultError: the updated plan does not give the new weights' outputs.
    """
    case = random_case(net, sparsity)
    packed = case.policy.repack(ours.own_order(isa))
    policies = (packed, _scaled(packed))
    act = sa.compile(packed, isa=isa)
    targets = [aligned_copy(array) for array in _arrays(packed)]

    def copy(arrays: Sequence[Float32]) -> None:
        for target, array in zip(targets, arrays, strict=True):
            np.copyto(target, array)

    sources = [[aligned_copy(array) for array in _arrays(policy)] for policy in policies]
    tracks = [_track("update", act.update, policies), _track("copy", copy, sources)]
    interleave(tracks, seconds, clock_cost())
    x = observations(case, 1)[0]
    for policy in policies:
        act.update(policy)
        if act(x).tobytes() != forward_exact(policy.program, x).tobytes():
            raise WrongResultError(f"{net.name}: the updated plan gives other bits")
    update, plain = (percentile(track.calls, 0.5) for track in tracks)
    return Update(net.name, sparsity, packed.nnz, update, plain, update / plain)


def _track(name: str, run: Any, inputs: Sequence[Any]) -> Track:
    variant = Variant(name, lambda x: x, run, lambda: np.zeros(0, np.float32))
    return Track(variant, inputs, trial(variant, inputs))


def _arrays(policy: sa.SparsePolicy) -> list[Float32]:
    arrays = []
    for layer in policy.layers:
        weight = layer.weight
        arrays += [weight.values if isinstance(weight, sa.CSR) else weight, layer.bias]
    return arrays


def _scaled(policy: sa.SparsePolicy) -> sa.SparsePolicy:
    """The same masks and order with other weights."""
    layers = []
    for layer in policy.layers:
        weight: Any = layer.weight
        half = np.float32(0.5)
        if isinstance(weight, sa.CSR):
            weight = replace(weight, values=weight.values * half)
        else:
            weight = weight * half
        layers.append(replace(layer, weight=weight, bias=layer.bias * half))
    return replace(policy, program=sa.chain(layers, policy.observation))


if __name__ == "__main__":
    raise SystemExit(main())
