"""The named choices of a run, and what each one means, for error messages and `--help`.

What a name stands for is built in `strategy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALGORITHMS = ("ppo", "a2c", "dqn", "sac", "td3", "ddpg")
ON_POLICY = ("ppo", "a2c")

SCORES: Mapping[str, str] = {
    "magnitude": "small weights go first",
    "random": "a random order, the control experiment",
    "snip": "connections that the loss feels least go first, judged before training; Lee, 2019",
    "taylor": "small (weight x gradient)^2 goes first; Molchanov, 2019",
    "movement": "weights that shrink in training go first; Sanh, 2020",
    "fisher": "small weight^2 x gradient^2 goes first; Theis, 2018",
    "inputs": "whole inputs of small norm go first, in other layers small weights",
    "drift": "weights that training moved least go first",
}
#: Scores that have seen nothing before the first gradient update.
GRADIENT_SCORES = ("snip", "taylor", "movement", "fisher", "drift")
PATTERNS: Mapping[str, str] = {
    "fan_in": "single weights; neurons first where fewer than 4 inputs a neuron would be left",
    "unstructured": "any weight may be zero",
    "block_16x1": "16 neighbouring outputs of an input together, for one observation at a time",
    "block_4x1": "4 neighbouring outputs of an input together, for batches",
    "lane_balanced": "equally many of every 32 inputs of a neuron",
    "neurons": "whole neurons, the same share of every hidden layer",
    "hybrid": "a share of the neurons first, then single weights",
    "connected": "single weights, those on no path from input to output first",
    "2:4": "2 of every 4 inputs of a neuron: sparsity 0.5",
    "1:4": "1 of every 4 inputs of a neuron: sparsity 0.75",
}
#: Fraction of the neurons that the pattern "hybrid" removes, unless said.
HYBRID_NEURONS = 0.5
ALLOCATIONS: Mapping[str, str] = {
    "erk": "Erdos-Renyi kernel: small layers stay denser",
    "uniform": "every layer gets the same sparsity",
    "global": "one threshold over all layers, with a floor for each of them",
    "lamp": "one threshold over all layers for shares of each layer's norm; Lee, 2021",
    "pattern": "as the pattern says (2:4, 1:4, neurons), else erk",
}
#: Which layers of a network are pruned.
LAYERS: Mapping[str, str] = {
    "all": "all of them",
    "first": "those that read the observation",
}
SCHEDULES: Mapping[str, str] = {
    "cubic": "fast at first, then slower; Zhu and Gupta, 2017",
    "one_shot": "everything at once, where pruning stops",
    "early": "everything at once, where pruning starts; with a start of 0 before training",
    "automatic": "as far as the return allows, at most to the sparsity; after Vincent, 2025",
    "warmup": "cubic, from where the return has risen; at the latest from half way",
}
GROWTHS: Mapping[str, str] = {
    "none": "what is pruned stays pruned",
    "random": "pruned weights come back at random; SET, Mocanu, 2018",
    "gradient": "pruned weights of large gradient come back; RigL, Evci, 2020",
    "random_inputs": "whole inputs come back at random, in the layers that read the observation",
    "gradient_inputs": "whole inputs of large gradient come back, in the layers that read them",
}
#: Share of the weights that `grow` exchanges at first, unless said.
DROP_FRACTION = 0.3
ACTIVATIONS = ("tanh", "relu", "elu", "leaky_relu", "sigmoid", "silu", "gelu")

#: What `configure` prunes by unless told otherwise: the product's defaults, in this one place. The
#: plain `RunConfig` and studies, whose rows must stay what they are, do not go by them.
DEFAULTS: Mapping[str, Any] = {"score": "magnitude", "pattern": "fan_in"}

#: What step 1 chooses between, short for some choices of the above; the others refine it.
STRATEGIES: Mapping[str, str] = {
    "weight": "single weights or small groups of them",
    "structured": "whole neurons, so that the layers shrink",
    "network": "one threshold for the weights of the whole network",
    "hybrid": "a share of the neurons, then single weights",
    "automatic": "as far as the return allows",
}
#: The fields of `RunConfig` that a strategy sets.
STRATEGY_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "weight": {},
    "structured": {"pattern": "neurons", "allocation": "pattern"},
    "network": {"allocation": "global"},
    "hybrid": {"pattern": "hybrid"},
    "automatic": {"schedule": "automatic"},
}


def strategies_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in `STRATEGIES` that describe the fields of a `RunConfig`, at least one."""
    found = [
        name
        for name, fixed in STRATEGY_SETTINGS.items()
        if fixed and all(settings[key] == value for key, value in fixed.items())
    ]
    shrinks = "structured" in found or "hybrid" in found
    return tuple(found) if shrinks else ("weight", *found)


def check_choice(name: str, value: Any, known: Mapping[str, str] | tuple[str, ...]) -> None:
    """Refuse a value that is none of the known ones.

    Raises:
        ValueError: it names `name`, the choices and the value.
    """
    if value in known:
        return
    if isinstance(known, Mapping):
        choices = "; ".join(f"{key!r} ({text})" for key, text in known.items())
    else:
        choices = ", ".join(repr(key) for key in known)
    raise ValueError(f"{name}: expected one of {choices}; got {value!r}")
