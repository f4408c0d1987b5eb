"""Time per observation at every batch size: `python -m bench.tails`.

A batch that is no multiple of a tile has a tail, and a bad tail is a cliff: one more observation
makes each of them dearer. Above 16 observations, one more may raise the time per observation by at
most 15 %. One plan per net serves all batch sizes; they take turns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sparseagent as sa
from bench import sheet
from bench.cell import make_track
from bench.contenders import ours
from bench.machine import describe
from bench.nets import NETS, Net, observations, random_case
from bench.run import isa_name
from bench.study_plots import draw_tails
from bench.timing import clock_cost, interleave, percentile
from bench.verify import Expected

#: Every size up to 80, then pairs around the sizes that callers use.
BATCHES = (*range(1, 81), 95, 96, 97, 127, 128, 129, 255, 256, 257, 511, 512, 513)
#: The rule holds from this batch size on.
FIRST = 16


@dataclass(frozen=True)
class Tail:
    """One batch size of one net; `rise` is NaN where the size below was not measured.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        batch: observations per call.
        ns_per_observation: median time of a call / batch.
        rise: `ns_per_observation` against that of `batch - 1`, minus 1.
        calls: recorded calls.
    """

    net: str
    sparsity: float
    batch: int
    ns_per_observation: float
    rise: float
    calls: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV and the figure, print the worst rise of each net."""
    parser = sheet.arguments("tails", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["M", "L", "XL"])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=30.0, help="for each net")
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows: list[Tail] = []
    for name in options.nets:
        rows += measure(NETS[name], options.sparsity, options.batches, isa, options.seconds)
    sheet.write(options.out, rows, machine, isa)
    read = sheet.read(options.out)
    print(f"{options.out}\n{draw_tails(read, options.figures)}")
    for net, (batch, rise) in worst_rises(read).items():
        print(f"{net}: largest rise above {FIRST}: {rise:+.1%} from B={batch - 1} to B={batch}")
    return 0


def measure(
    net: Net, sparsity: float, batches: Sequence[int], isa: str, seconds: float
) -> list[Tail]:
    """One row per batch size, all measured in turns.

    Raises:
        WrongResultError: an output is not the policy's.
    """
    case = random_case(net, sparsity)
    act = sa.compile(case.policy.repack(ours.own_order(isa)), isa=isa)
    tracks = []
    for batch in batches:
        arrays = observations(case, batch)
        tracks.append(
            make_track(ours.variant(act, batch, "auto"), arrays, Expected(case, arrays))[0]
        )
    interleave(tracks, seconds, clock_cost())
    each = {
        batch: percentile(track.calls, 0.5) / batch
        for batch, track in zip(batches, tracks, strict=True)
    }
    return [
        Tail(net.name, sparsity, batch, each[batch], _rise(each, batch), len(track.calls))
        for batch, track in zip(batches, tracks, strict=True)
    ]


def worst_rises(rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[int, float]]:
    """For each net the batch size above `FIRST` with the largest rise, and the rise."""
    worst: dict[str, tuple[int, float]] = {}
    for row in rows:
        batch, rise = int(row["batch"]), row["rise"]
        if batch > FIRST and rise and float(rise) > worst.get(row["net"], (0, -math.inf))[1]:
            worst[row["net"]] = (batch, float(rise))
    return worst


def _rise(each: Mapping[int, float], batch: int) -> float:
    return each[batch] / each[batch - 1] - 1.0 if batch - 1 in each else math.nan


if __name__ == "__main__":
    raise SystemExit(main())
