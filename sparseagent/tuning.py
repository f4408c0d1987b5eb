"""Saved tuning: what a plan chose on this machine, as plain data to choose again without timing."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparseagent.csr import CSR
from sparseagent.ops import Layer
from sparseagent.policy import SparsePolicy

#: A tuning as `compile` takes it: what `Plan.tuning` gives, or a JSON file of it.
Saved = Mapping[str, Any] | str | Path


def describe(
    policy: SparsePolicy,
    isa: str,
    costs: Mapping[str, tuple[int, float]],
    choices: list[tuple[int, str, str, Any]],
) -> dict[str, Any]:
    """The tuning of a plan, JSON-able: see `Plan.tuning`."""
    return {
        "isa": isa,
        "cpu": cpu_name(),
        "layers": [_layer_facts(layer) for layer in policy.layers],
        "regimes": [
            {
                "name": name,
                "observations": observations,
                "ns": ns,
                "formats": [chosen for _, regime, chosen, _ in choices if regime == name],
            }
            for name, (observations, ns) in costs.items()
        ],
    }


def read(tune: Saved, policy: SparsePolicy, isa: str) -> tuple[list[list[str]], list[float]]:
    """The formats `[regimes][layers]` and times in ns `[regimes]` that `tune` holds.

    Raises:
        ValueError: it was made for another ISA or other layers, or it is no tuning.
        OSError: the file cannot be read.
    """
    saved = _from_file(tune) if isinstance(tune, str | Path) else tune
    try:
        made_for, layers = saved["isa"], list(saved["layers"])
        formats = [[str(name) for name in regime["formats"]] for regime in saved["regimes"]]
        ns = [float(regime["ns"]) for regime in saved["regimes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"tune: expected what Plan.tuning gives, got {saved!r:.80}") from error
    if made_for != isa:
        raise ValueError(f"tune: expected a tuning for isa {isa}, got one for {made_for}")
    for number, (layer, given) in enumerate(zip(policy.layers, layers, strict=False)):
        if given != _layer_facts(layer):
            raise ValueError(
                f"tune: expected layers[{number}] to be {_layer_facts(layer)}, got {given}"
            )
    if len(layers) != len(policy.layers):
        raise ValueError(f"tune: expected {len(policy.layers)} layers, got {len(layers)}")
    if not formats:  # to the core, nothing that was chosen before
        raise ValueError("tune: expected a format for each layer in every regime, got no regimes")
    return formats, ns


def cpu_name() -> str:
    """The model name of this machine's CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _from_file(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"tune: expected a JSON file, got {path}: {error}") from error


def _layer_facts(layer: Layer) -> dict[str, int]:
    out, width = layer.shape
    runs = layer.weight.runs if isinstance(layer.weight, CSR) else 1
    return {"in": width, "out": out, "weights": layer.nnz, "runs": runs}
