"""torch sparse CSR: `addmm` of CSR weights and feature-major activations, 32-bit indices.

`F.linear` with a CSR weight is slower throughout, 64-bit indices are converted at every call, and
inference mode has refused CSR products (pytorch#98004), so: `addmm(out=)`, int32, `no_grad`.
"""

from __future__ import annotations

import warnings

import numpy as np

import sparseagent as sa
from bench.contenders.base import Contender, Variant, dense_layers, needs, versions
from bench.contenders.torch_common import one_thread, tensor
from bench.nets import aligned


def prepare(policy: sa.SparsePolicy, batch: int) -> tuple[Variant, ...]:
    """The chain of `addmm`; the transpositions in and out are part of the call."""
    import torch

    one_thread()
    in_place = {"identity": None, "relu": torch.relu_, "tanh": torch.tanh_}
    steps = []
    for layer, dense in zip(policy.layers, dense_layers(policy), strict=True):
        csr = sa.CSR.from_dense(dense.weight)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            weight = torch.sparse_csr_tensor(
                torch.tensor(np.array(csr.indptr)),
                torch.tensor(np.array(csr.indices)),
                torch.tensor(np.array(csr.values)),
                layer.shape,
                check_invariants=True,
            )
        buffer = tensor(aligned((layer.shape[0], batch)))
        bias = tensor(dense.bias)[:, None]
        steps.append((weight, bias, buffer, in_place[layer.activation]))
    out = aligned((batch, policy.output_size))
    result = tensor(out)

    def run(x: torch.Tensor) -> None:
        x = x.t()
        for weight, bias, y, activate in steps:
            torch.addmm(bias, weight, x, out=y)
            if activate is not None:
                activate(y)
            x = y
        result.copy_(x.t())

    return (Variant("addmm(out=), int32", tensor, run, lambda: out, torch.no_grad),)


CONTENDER = Contender("torch-csr", "nonzeros", needs("torch"), versions("torch"), prepare)
