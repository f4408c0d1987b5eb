"""sparseagent itself: the plan's own choice, CSR forced, dense forced."""

from __future__ import annotations

from typing import Any, Literal

import sparseagent as sa
from bench.contenders.base import Contender, Float64, Variant
from bench.nets import Float32, aligned
from sparseagent.policy import ORDERS
from sparseagent.repack import best_order

Format = Literal["auto", "csr", "dense"]


def contender(format: Format, isa: str | None = None) -> Contender:
    """One format for all layers (`auto`: what the plan measures as fastest).

    `auto` runs the policy as conversion would have written it: in the order made for the
    instruction set. The others run it in ascending order; `dense` is the baseline of every ratio.
    """
    order = "ascending"
    if format == "auto":
        order = isa if isa is not None and isa in ORDERS else best_order()

    def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
        packed = policy.repack(order)
        act = sa.compile(packed, threads=1, isa=isa, format=format)
        out = aligned((batch, policy.output_size))
        target = out[0] if batch == 1 else out

        def wrap(observations: Float32) -> Float32:
            return observations[0] if batch == 1 else observations

        def run(observations: Float32) -> None:
            act(observations, target)

        def forward_ns(observations: Any, calls: int) -> Float64:
            measured: Float64 = act.time(observations, calls)
            return measured

        return (Variant(format, wrap, run, lambda: out, forward_ns=forward_ns, exact=packed),)

    return Contender(
        name=f"sparseagent-{format}",
        stores="all" if format == "dense" else "nonzeros",
        missing=lambda: "",
        version=lambda: f"sparseagent {sa.__version__}",
        prepare=prepare,
    )
