"""The goals, as data, and the cells that have to be measured to judge them.

All are for one core, float32, called from Python into preallocated arrays; ratios are taken within
one run. `bench.goals` compares them with the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.nets import SPARSITIES

MANY = (32, 128, 512, 2048)


@dataclass(frozen=True)
class Selection:
    """A block of cells: every net at every sparsity and batch size.

    Attributes:
        nets: names of nets.
        source: pattern of the masks.
        sparsities: fractions of zeros.
        batches: observations per call.
        peers: whether peers take part, or only ours.
    """

    nets: tuple[str, ...]
    source: str
    sparsities: tuple[float, ...]
    batches: tuple[int, ...]
    peers: bool = True


@dataclass(frozen=True)
class Speed:
    """The plan's choice has to be this many times faster, in every cell of `where`.

    Attributes:
        where: the cells.
        over_dense: than our dense on the same instruction set, or None.
        over_peer: than the fastest peer of any kind, or None.
        isa: instruction set, empty for the widest.
    """

    where: Selection
    over_dense: float | None = None
    over_peer: float | None = None
    isa: str = ""


@dataclass(frozen=True)
class Share:
    """The arithmetic on nonzeros has to reach this share of the core's FMA peak, call included."""

    where: Selection
    share: float


@dataclass(frozen=True)
class Limit:
    """A number of a single study that must not pass `value`.

    Attributes:
        text: what it is.
        study: name of the CSV file.
        column: what is compared.
        value: the limit.
        at_most: whether the number may be at most `value`, or at least.
        rows: conditions on other columns, `(column, least, largest)`.
        net: name of the net, empty for all.
        unit: behind the numbers.
    """

    text: str
    study: str
    column: str
    value: float
    at_most: bool
    rows: tuple[tuple[str, float, float], ...] = ()
    net: str = ""
    unit: str = ""


def _random(net: str, sparsity: float, *batches: int) -> Selection:
    return Selection((net,), "random", (sparsity,), batches)


SPEEDS = (
    Speed(_random("M", 0.9, 1), 2.2, 5.0),
    Speed(_random("L", 0.9, 1), 3.0, 7.0),
    Speed(_random("XL", 0.9, 1), 3.3, 4.8),
    Speed(_random("M", 0.95, 1), 3.5, 7.0),
    Speed(_random("L", 0.95, 1), 4.5, 8.0),
    Speed(_random("XL", 0.95, 1), 5.5, 6.5),
    Speed(Selection(("S",), "random", SPARSITIES, (1,)), None, 3.0),
    Speed(_random("M", 0.9, *MANY), 5.0, 3.5),
    Speed(_random("L", 0.9, *MANY), 5.0, 3.5),
    Speed(_random("XL", 0.9, *MANY), 4.5, 3.5),
    *(Speed(_random(net, 0.95, *MANY), 9.0, 3.3) for net in ("M", "L", "XL")),
    *(
        Speed(Selection((net,), "block16x1", (0.9,), (1,), peers=False), times)
        for net, times in (("M", 3.5), ("L", 5.0), ("XL", 7.0))
    ),
    *(Speed(_random(net, 0.9, 1), 2.5, isa="avx2") for net in ("M", "L", "XL")),
    *(Speed(_random(net, 0.9, *MANY), 6.0, isa="avx2") for net in ("M", "L", "XL")),
)

SHARES = (
    Share(Selection(("M", "L", "XL"), "random", (0.8, 0.9), MANY), 0.5),
    Share(Selection(("M", "L", "XL"), "block4x1", (0.8, 0.9), MANY, peers=False), 0.75),
)

#: Our dense as fast as the best dense peer, and its share of the peak counting all its weights.
DENSE = Selection(("M", "L", "XL"), "random", (0.9,), (128, 512, 2048))
DENSE_OVER_PEER, DENSE_SHARE = 1.0, 0.88

#: A sparse format wins from here on at the latest, by batch size.
CROSSOVERS = {1: 0.6, 32: 0.45}
#: Longest time of the plan's choice relative to our dense, at any sparsity.
SLOWEST = 1.05

LIMITS = (
    Limit(
        "time per observation from B to B+1, above 16: rise",
        "tails",
        "rise",
        0.15,
        at_most=True,
        rows=(("batch", 17, 1e9),),
    ),
    Limit(
        "two threads against one, M, batch 64 and up",
        "threads",
        "speedup",
        1.8,
        at_most=False,
        rows=(("batch", 64, 1e9),),
        net="M",
        unit="x",
    ),
    Limit(
        "two threads against one, XL, batch 1",
        "threads",
        "speedup",
        1.0,
        at_most=False,
        rows=(("batch", 1, 1),),
        net="XL",
        unit="x",
    ),
    Limit("plan.update against copying the values", "update", "ratio", 2.0, True, unit="x"),
    Limit("plan.update, M", "update", "update_ns", 30_000, True, net="M", unit=" ns"),
    Limit(
        "act(obs, out) over the C++ forward, M", "call_overhead", "into_ns", 120, True, unit=" ns"
    ),
    Limit(
        "act.predict(obs) over the C++ forward, M",
        "call_overhead",
        "predict_ns",
        1500,
        True,
        unit=" ns",
    ),
)

#: What `python -m bench.run --goals` measures.
SELECTION = (
    Selection(("S",), "random", SPARSITIES, (1,)),
    Selection(("M", "L", "XL"), "random", (0.9, 0.95), (1,)),
    Selection(("M", "L", "XL"), "random", (0.8, 0.9, 0.95), MANY),
    Selection(("M", "L", "XL"), "block16x1", (0.9,), (1,), peers=False),
    Selection(("M", "L", "XL"), "block4x1", (0.8, 0.9), MANY, peers=False),
    Selection(("M", "L", "XL"), "lanes", (0.9,), (1,), peers=False),
)
