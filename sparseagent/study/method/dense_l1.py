"""The dense agent under a proximal L1 penalty on its input layer."""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow

METHOD = Narrow(
    "dense_l1",
    "dense (L1 on inputs)",
    lambda config: config.net_arch,
    l1=True,
    has_sparsity=False,
)
