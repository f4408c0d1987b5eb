"""What a foreign order costs: `python -m bench.orders`.

One observation on every instruction set of this machine, with the summation order made for it and
with those made for others. The bits of a policy do not depend on where it runs, its speed does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sparseagent as sa
from bench import sheet
from bench.contenders import ours
from bench.machine import describe
from bench.nets import NETS, Net, observations, random_case
from bench.run import isa_name
from bench.timing import Track, clock_cost, interleave, percentile, trial
from sparseagent.order import ORDERS


@dataclass(frozen=True)
class Order:
    """One net in one order on one instruction set.

    Attributes:
        net: name of the net.
        sparsity: fraction of zeros.
        runs_on: instruction set.
        order: the order that the policy is stored in.
        p50_ns: median time of one observation.
        ratio: the same over the time in the instruction set's own order.
    """

    net: str
    sparsity: float
    runs_on: str
    order: str
    p50_ns: float
    ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the CSV, print the table."""
    parser = sheet.arguments("orders", __doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=["M", "L", "XL"])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each net and ISA")
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows = [
        row
        for name in options.nets
        for info in sa.kernels()
        if info.available and info.name in ORDERS
        for row in measure(NETS[name], options.sparsity, info.name, options.seconds)
    ]
    sheet.write(options.out, rows, machine, isa)
    print(options.out)
    for row in rows:
        print(
            f"{row.net:<4}{row.order:<10} on {row.runs_on:<8}{row.p50_ns / 1e3:8.2f} us"
            f"{row.ratio:7.2f}x"
        )
    return 0


def measure(net: Net, sparsity: float, isa: str, seconds: float) -> list[Order]:
    """Time every order on `isa`, taking turns."""
    case = random_case(net, sparsity)
    inputs = observations(case, 1)
    tracks = {}
    for order in ORDERS:
        act = sa.compile(case.policy.repack(order), isa=isa)
        variant = ours.variant(act, 1, order)
        wrapped = [variant.wrap(x) for x in inputs]
        tracks[order] = Track(variant, wrapped, trial(variant, wrapped))
    interleave(list(tracks.values()), seconds, clock_cost())
    p50 = {order: percentile(track.calls, 0.5) for order, track in tracks.items()}
    return [Order(net.name, sparsity, isa, order, ns, ns / p50[isa]) for order, ns in p50.items()]


if __name__ == "__main__":
    raise SystemExit(main())
