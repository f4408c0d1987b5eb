"""sparseagent itself: the plan's own choice, or one format forced."""

from __future__ import annotations

from typing import Any

import sparseagent as sa
from bench.contenders.base import Contender, Float64, UnsupportedError, Variant
from bench.nets import Float32, aligned
from sparseagent.order import ORDERS, best_order

#: Formats that run in ascending order; the others follow the order of the instruction set.
PLAIN = ("csr", "dense")


def contender(format: str, isa: str | None = None) -> Contender:
    """One format for all layers (`auto`: what the plan measures as fastest).

    `auto` runs the policy as conversion would have written it: in the order made for the
    instruction set. CSR and dense run it in ascending order; `dense` is the baseline of every
    ratio.
    """
    order = "ascending" if format in PLAIN else own_order(isa)

    def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
        packed = policy.repack(order)
        try:
            act = sa.compile(packed, threads=1, isa=isa, format=format)
        except ValueError as refusal:
            raise UnsupportedError(str(refusal)) from refusal
        return (variant(act, batch, format),)

    return Contender(
        name=f"sparseagent-{format}",
        stores="all" if format == "dense" else "nonzeros",
        missing=lambda: "",
        version=lambda: f"sparseagent {sa.__version__}",
        prepare=prepare,
    )


def own_order(isa: str | None) -> str:
    """The order made for `isa` (None: the widest of this machine)."""
    return isa if isa is not None and isa in ORDERS else best_order()


def variant(act: sa.Plan, batch: int, name: str) -> Variant:
    """Calls of `act` into an array of its own; `[in]` rather than `[1, in]` at batch 1."""
    out = aligned((batch, act.policy.output_size))
    target = out[0] if batch == 1 else out

    def wrap(observations: Float32) -> Float32:
        return observations[0] if batch == 1 else observations

    def run(observations: Float32) -> None:
        act(observations, target)

    def forward_ns(observations: Any, calls: int) -> Float64:
        measured: Float64 = act.time(observations, calls)
        return measured

    return Variant(
        name, wrap, run, lambda: out, forward_ns=forward_ns, exact=act.policy, keep=(act,)
    )
