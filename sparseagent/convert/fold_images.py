"""Joins what stands around convolutions with them: activations, and the 255 of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sparseagent.csr import CSR, Float64
from sparseagent.ops import Layer
from sparseagent.ops.conv2d import Conv2d
from sparseagent.ops.map import Map


def into_conv_before(graph: Any, number: int) -> bool:
    """Conv2d -> Map: an affine map alike for a whole channel, and the activation; bounds stay."""
    op = graph.ops[number]
    if not isinstance(op, Map) or (op.scale is None and op.activation == "identity"):
        return False
    at = graph.writer(op.reads[0])
    conv = None if at is None else graph.ops[at]
    plain = isinstance(conv, Conv2d) and conv.layer.activation == "identity"
    if not isinstance(conv, Conv2d) or not plain or not graph.is_private(op.reads[0], number):
        return False
    layer = conv.layer
    if op.scale is not None and op.shift is not None:
        scale, shift = (part.reshape(len(layer.bias), -1) for part in (op.scale, op.shift))
        if (scale != scale[:, :1]).any() or (shift != shift[:, :1]).any():
            return False
        factor = scale[:, 0].astype(np.float64)
        scaled = _scaled(layer, factor, layer.bias * factor + shift[:, 0])
        if scaled is None:
            return False
        layer = scaled
    layer = replace(layer, activation=op.activation, alpha=op.alpha)
    if op.low is None and op.high is None:
        graph.move(number, at, replace(conv, writes=op.writes, layer=layer))
    else:
        graph.put(at, replace(conv, layer=layer))
        graph.put(number, Map(op.reads, op.writes, low=op.low, high=op.high))
    return True


def into_convs_behind(graph: Any, number: int) -> bool:
    """Map -> Conv2ds, where it only multiplies all by one number: bytes then stay whole numbers."""
    op = graph.ops[number]
    if not isinstance(op, Map) or op.scale is None or op.shift is None:
        return False
    plain = op.activation == "identity" and op.low is None and op.high is None
    written = op.writes[0]
    readers = graph.readers(written.slot)
    if not plain or op.shift.any() or graph.is_output(written) or not readers:
        return False
    convs = [graph.ops[reader] for reader in readers]
    factor = float(op.scale[0])
    if (op.scale != op.scale[0]).any() or not all(
        isinstance(conv, Conv2d) and conv.reads == (written,) for conv in convs
    ):
        return False
    layers = [_scaled(c.layer, np.full(len(c.layer.bias), factor), c.layer.bias) for c in convs]
    if any(layer is None for layer in layers):
        return False
    for reader, conv, layer in zip(readers, convs, layers, strict=True):
        graph.put(reader, replace(conv, reads=op.reads, layer=layer))
    graph.put(number, None)
    return True


def _scaled(layer: Layer, factor: Float64, bias: Any) -> Layer | None:
    """Rows times `factor`, `[out]`, and another bias; None where a number leaves float32."""
    weight = layer.weight
    with np.errstate(over="ignore"):
        if isinstance(weight, CSR):
            values = (weight.values * factor[weight.rows()]).astype(np.float32)
        else:
            values = (weight * factor[:, None]).astype(np.float32)
        added = np.asarray(bias, np.float64).astype(np.float32)
    if not np.isfinite(values).all() or not np.isfinite(added).all():
        return None
    return layer.with_values(values, added)
