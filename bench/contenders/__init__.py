"""Everything that is timed. A new contender: one file with a `CONTENDER`, one line here."""

from __future__ import annotations

from bench.contenders import (
    litert,
    numba_csr,
    numpy_blas,
    onnx_runtime,
    openvino_f32,
    ours,
    scipy_csr,
    torch_compile,
    torch_csr,
    torch_eager,
    torch_onednn,
)
from bench.contenders.base import Contender, UnsupportedError, Variant

PEERS = (
    numpy_blas.CONTENDER,
    torch_eager.CONTENDER,
    torch_compile.CONTENDER,
    torch_onednn.CONTENDER,
    onnx_runtime.CONTENDER,
    openvino_f32.CONTENDER,
    litert.CONTENDER,
    scipy_csr.CONTENDER,
    torch_csr.CONTENDER,
    numba_csr.CONTENDER,
)


def contenders(isa: str | None = None) -> dict[str, Contender]:
    """All contenders by name, ours on the instruction set `isa` (None: the widest)."""
    own = (
        ours.contender("auto", isa),
        ours.contender("csr", isa),
        ours.contender("dense", isa),
    )
    return {contender.name: contender for contender in (*own, *PEERS)}


__all__ = ["PEERS", "Contender", "UnsupportedError", "Variant", "contenders"]
