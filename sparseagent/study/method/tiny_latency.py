"""The dense agent whose compiled policy takes as long for one observation as the pruned one's.

At equal weights a dense network is quicker than a sparse one; at equal time it is larger. The
widths were measured before any study that uses them, see `WIDTHS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sparseagent.study.method.narrow import Narrow
from sparseagent.train.config import RunConfig

#: Width of all hidden layers by environment and sparsity; `python -m bench.equal_latency` on the
#: policies of `gmp_inputs`, seed 100, which is no part of a study. AVX-512, one core. At 0.95 the
#: pruned ones took 461 to 480 ns, dense ones of width 6 451 to 470 and of width 7 471 to 491; at
#: 0.98 411 to 421, of width 2 411 to 420 and of width 3 431 to 441, in two measurements.
WIDTHS: Mapping[tuple[str, float], int] = {
    ("sparseagent/CartPole-Noise200-v1", 0.95): 6,
    ("sparseagent/CartPole-Noise200-v1", 0.98): 2,
    ("sparseagent/CartPole-Foreign50-v1", 0.95): 6,
    ("sparseagent/CartPole-Foreign50-v1", 0.98): 2,
    ("sparseagent/Acrobot-Noise200-v1", 0.95): 6,
    ("sparseagent/Acrobot-Noise200-v1", 0.98): 2,
}


def equal_latency(config: RunConfig) -> tuple[int, ...]:
    """Hidden widths of equal latency, as measured.

    Raises:
        ValueError: nothing was measured for the environment and the sparsity.
    """
    width = WIDTHS.get((config.env, config.sparsity))
    if width is None:
        raise ValueError(
            f"tiny_latency: expected a measured width for {config.env} at {config.sparsity:g}, got "
            "none; measure it with `python -m bench.equal_latency` and add it to WIDTHS"
        )
    return (width,) * len(config.net_arch)


METHOD = Narrow("tiny_latency", "dense of equal latency", equal_latency)
