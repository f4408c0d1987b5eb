"""The dense agent under a proximal L1 penalty on its input layer."""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow
from sparseagent.train.config import RunConfig


def _all_of_it(config: RunConfig) -> tuple[int, ...]:
    return config.net_arch


METHOD = Narrow(
    "dense_l1",
    "dense (L1 on inputs)",
    _all_of_it,
    l1=True,
    has_sparsity=False,
)
