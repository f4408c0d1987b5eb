"""Step 1: what is pruned, how, and why; and the sparsifier that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparseagent import prune
from sparseagent.train.choices import (
    ALLOCATIONS,
    DROP_FRACTION,
    GROWTHS,
    LAYERS,
    PATTERNS,
    SCHEDULES,
    SCORES,
    STRATEGIES,
)
from sparseagent.train.config import RunConfig

# What the names of a configuration stand for. A new name is one line here and one in `choices.py`.
_SCORES: Mapping[str, Callable[[int], prune.Score]] = {
    "magnitude": lambda seed: prune.Magnitude(),
    "random": prune.Random,
    "snip": lambda seed: prune.Snip(),
    "taylor": lambda seed: prune.Taylor(),
    "movement": lambda seed: prune.Movement(),
    "fisher": lambda seed: prune.Fisher(),
    "inputs": lambda seed: prune.InputNorm(),
    "drift": lambda seed: prune.Drift(),
}
_PATTERNS: Mapping[str, Callable[[RunConfig], prune.Pattern]] = {
    "unstructured": lambda config: prune.Unstructured(),
    "block_16x1": lambda config: prune.Block(16, 1),
    "block_4x1": lambda config: prune.Block(4, 1),
    "lane_balanced": lambda config: prune.LaneBalanced(),
    "neurons": lambda config: prune.WholeNeurons(),
    "hybrid": lambda config: prune.Hybrid(config.neurons),
    "fan_in": lambda config: prune.FanIn(),
    "connected": lambda config: prune.Connected(),
    "2:4": lambda config: prune.NM(2, 4),
    "1:4": lambda config: prune.NM(1, 4),
}
_LAYERS: Mapping[str, prune.First | None] = {"all": None, "first": prune.First(1)}
_SCHEDULES: Mapping[str, Callable[[float, float, float], prune.Schedule]] = {
    "cubic": lambda to, start, stop: prune.Cubic(to=to, start=start, stop=stop),
    "one_shot": lambda to, start, stop: prune.OneShot(to=to, at=stop),
    "early": lambda to, start, stop: prune.OneShot(to=to, at=start),
    "automatic": lambda to, start, stop: prune.Automatic(limit=to, start=start, stop=stop),
    "warmup": lambda to, start, stop: prune.Warmup(to=to, start=start, stop=stop),
}
_ALLOCATIONS: Mapping[str, prune.Allocation | None] = {
    "erk": prune.erk,
    "uniform": prune.uniform,
    "global": prune.global_,
    "lamp": prune.lamp,
    "pattern": None,
}
_GROWTHS: Mapping[str, Callable[[int], prune.Growth | None]] = {
    "none": lambda seed: None,
    "random": prune.RandomGrowth,
    "gradient": lambda seed: prune.GradientGrowth(),
    "random_inputs": lambda seed: prune.InputGrowth(prune.RandomGrowth(seed)),
    "gradient_inputs": lambda seed: prune.InputGrowth(prune.GradientGrowth()),
}


@dataclass(frozen=True)
class PlannedLayer:
    """One pruned weight matrix: what the allocation gives it.

    Attributes:
        name: key of the weight in the policy's `state_dict`.
        part: `"actor"`, `"critic"` or `"q_net"`.
        inputs: columns.
        outputs: rows.
        sparsity: planned final fraction of zeros, in [0, 1).
    """

    name: str
    part: str
    inputs: int
    outputs: int
    sparsity: float


@dataclass(frozen=True)
class Strategy:
    """The choice that step 1 makes, in words and numbers.

    Attributes:
        what: which weights are pruned.
        how: score, pattern, allocation and schedule.
        why: the reasons, with their sources.
        layers: the planned sparsity of each pruned layer.
    """

    what: str
    how: str
    why: str
    layers: tuple[PlannedLayer, ...]


def make_sparsifier(config: RunConfig, policy: nn.Module, seed: int) -> prune.Sparsifier:
    """The sparsifier of a run for a policy of Stable-Baselines3."""
    grow = _GROWTHS[config.grow](seed)
    return prune.Sparsifier(
        policy,
        score=_SCORES[config.score](seed),
        schedule=_SCHEDULES[config.schedule](config.sparsity, *config.ramp),
        initial=prune.Random(seed) if grow and config.schedule == "early" else None,
        grow=grow,
        drop=prune.CosineDrop(config.drop_fraction, stop=config.ramp[1]) if grow else None,
        rescale_initial=config.rescale_initial,
        mask_gradients=config.mask_gradients,
        **_where(config),
    )


def check_pruning(config: RunConfig, policy: nn.Module) -> None:
    """Refuse what cannot be pruned as asked before anything is trained for it.

    Args:
        config: the run.
        policy: a fresh policy of the run; it stays as it is.

    Raises:
        ValueError: settings do not fit each other or the policy; the message names them.
    """
    # Not in `RunConfig`: a study may set `drop_fraction` for all methods, of which some grow.
    if config.grow == "none" and config.drop_fraction != DROP_FRACTION:
        raise ValueError(
            f"drop_fraction: expected {DROP_FRACTION} beside grow 'none', which exchanges nothing, "
            f"got {config.drop_fraction}"
        )
    make_sparsifier(config, policy, config.seeds[0])


def choose_strategy(config: RunConfig, policy: nn.Module) -> Strategy:
    """Describe what a run does, and plan the sparsity of each layer.

    Args:
        config: the run.
        policy: a fresh policy of the run, pruned here to see what the allocation does. With
            `allocation="global"` or `"lamp"` the plan is that of the magnitudes of fresh weights,
            and changes in training.
    """
    probe = prune.Sparsifier(
        policy,
        score=prune.Magnitude(),
        schedule=prune.OneShot(to=config.sparsity),
        **_where(config),
    )
    probe.step(1.0)
    shapes = {name: parameter.shape for name, parameter in policy.named_parameters()}
    layers = tuple(
        PlannedLayer(name, part, int(shapes[name][1]), int(shapes[name][0]), probe.sparsity(name))
        for part, names in probe.parts.items()
        for name in names
    )
    parts = ", ".join(f"{part} to {final:g}" for part, final in probe.final_sparsity.items())
    how = _how(config) + _narrowed(config, probe)
    return Strategy(_what(config, parts), how, _why(config), layers)


def _where(config: RunConfig) -> dict[str, Any]:
    """Where the zeros go: the arguments of a sparsifier that decide how many each layer gets."""
    critic: Any = config.critic_sparsity
    return {
        "pattern": _PATTERNS[config.pattern](config),
        "allocate": _ALLOCATIONS[config.allocation],
        "output_floor": config.output_floor,
        "critic_sparsity": None if critic == 0 else critic,
        "layers": _LAYERS[config.layers],
        "critic_layers": _LAYERS[config.critic_layers],
    }


def _what(config: RunConfig, parts: str) -> str:
    stays = "and stay zero" if config.grow == "none" else "and others come back"
    strategies = "; ".join(f"{name}: {STRATEGIES[name]}" for name in config.strategies)
    where = "" if config.layers == "all" else f"Only {LAYERS[config.layers]}. "
    end = "highest" if config.schedule == "automatic" else "final"
    return (
        f"{strategies}. {where}Weights are set to zero {stays} ({end} sparsity: {parts}). "
        "Biases stay dense. Only the acting network is deployed, so only its weights are counted."
    )


def _how(config: RunConfig) -> str:
    total, extra = config.total_timesteps, config.finetune_timesteps
    start, stop = config.ramp_steps
    ramp = f"from step {start:,} to {stop:,}"
    # What is pruned before training does not wait until learning starts.
    early = start if config.prune_start else 0
    steps = {"one_shot": f"at {stop:,}", "early": f"at {early:,}"}.get(config.schedule, ramp)
    tail = total + extra - stop
    share = f", here {config.neurons:.0%}" if config.pattern == "hybrid" else ""
    added = f", of them {extra:,} extra ones that the other agents do not get" if extra else ""
    return (
        f"Score: {config.score} ({SCORES[config.score]}). "
        f"Pattern: {config.pattern} ({PATTERNS[config.pattern]}{share}). "
        f"Allocation: {config.allocation} ({ALLOCATIONS[config.allocation]}). "
        f"Schedule: {config.schedule} ({SCHEDULES[config.schedule]}), {steps} of {total:,} "
        f"environment steps. {_growth(config)}"
        f"Fine-tuning under the frozen mask: the last {tail:,} steps{added}."
    )


def _narrowed(config: RunConfig, probe: prune.Sparsifier) -> str:
    """Which neurons of the acting network the pattern "fan_in" plans to do without."""
    if config.pattern != "fan_in":
        return ""
    acting = [probe.masks[name].any(dim=1) for name in next(iter(probe.parts.values()))][:-1]
    if all(bool(neurons.all()) for neurons in acting):
        return ""
    left, all_ = (
        "-".join(map(str, sizes))
        for sizes in zip(*((int(neurons.sum()), len(neurons)) for neurons in acting), strict=True)
    )
    return (
        f" {left} of {all_} hidden neurons stay in the actor: with all of them fewer than "
        f"{prune.FanIn().least} inputs would be left for each."
    )


def _growth(config: RunConfig) -> str:
    if config.grow == "none":
        return ""
    return (
        f"Growth: {config.grow} ({GROWTHS[config.grow]}), {config.drop_fraction:g} of the weights "
        "at first, falling to 0 where pruning stops. "
    )


def _why(config: RunConfig) -> str:
    reasons = []
    if config.score == "magnitude" and config.schedule == "cubic":
        reasons.append(
            "gradual magnitude pruning is the strongest simple method in deep RL "
            "(Graesser et al., 2022)"
        )
    if config.score == "random":
        reasons.append("a random score is the control that every other score has to beat")
    if config.allocation == "erk":
        reasons.append("ERK keeps small input and output layers alive where uniform breaks them")
    if config.on_policy and config.critic_sparsity in ("auto", 0):
        reasons.append("the critic stays dense: it does not run after training, and PPO's return")
        reasons[-1] += " suffers when it is pruned"
    reasons.append("a tiny dense network with equally many weights is trained as the control")
    return "; ".join(reasons)[0].upper() + "; ".join(reasons)[1:] + "."
