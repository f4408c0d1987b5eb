"""From what a caller wants to a complete configuration: preset, strategy, single settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sparseagent.train.choices import DEFAULTS, STRATEGIES, STRATEGY_SETTINGS, check_choice
from sparseagent.train.config import RunConfig
from sparseagent.train.presets import preset


def configure(
    env: str,
    algo: str = "ppo",
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    strategy: str | None = None,
    defaults: Mapping[str, Any] = DEFAULTS,
    **overrides: Any,
) -> RunConfig:
    """A complete configuration: the preset, with what the caller wants otherwise.

    A default that does not fit what the caller wants gives way to the plain `RunConfig`'s: the
    pattern `fan_in` to growth, whose weights it could not take back, and to a floor under the
    output layer, which loses inputs with the neurons.

    Args:
        env: Gymnasium environment id.
        algo: one of `ALGORITHMS`.
        hyperparameters: single hyperparameters to replace or add to the preset's.
        strategy: as in `with_strategy`.
        defaults: fields of `RunConfig` to prune by where the caller says nothing.
        **overrides: other fields of `RunConfig`; a value of None leaves the preset's.

    Raises:
        ValueError, TypeError: as `RunConfig` and `with_strategy`.
    """
    chosen = preset(env, algo)
    given = {name: value for name, value in overrides.items() if value is not None}
    pruning = dict(defaults)
    if given.get("grow", "none") != "none" or given.get("output_floor"):
        pruning.pop("pattern", None)
    base = RunConfig(
        env=env,
        algo=algo,
        total_timesteps=chosen.total_timesteps,
        n_envs=chosen.n_envs,
        net_arch=chosen.net_arch,
        activation=chosen.activation,
        normalize=chosen.normalize,
        hyperparameters={**chosen.hyperparameters, **(hyperparameters or {})},
        **pruning,
    )
    return with_strategy(base, strategy, given)


def with_strategy(base: RunConfig, strategy: str | None, changes: Mapping[str, Any]) -> RunConfig:
    """A configuration with the settings of a strategy and other changes, which may refine it.

    Args:
        base: the configuration so far.
        strategy: one of `choices.STRATEGIES`, or None to change no more than `changes`.
        changes: fields of `RunConfig`.

    Raises:
        ValueError: an unknown strategy, or the result is another one.
        ValueError, TypeError: as `RunConfig`.
    """
    if strategy is None:
        return replace(base, **changes)
    check_choice("strategy", strategy, STRATEGIES)
    chosen = replace(base, **{**STRATEGY_SETTINGS[strategy], **changes})
    if strategy not in chosen.strategies:
        raise ValueError(
            f"strategy: expected settings of {strategy!r} ({STRATEGIES[strategy]}), "
            f"got the pattern "
            f"{chosen.pattern!r}, the allocation {chosen.allocation!r} and the schedule "
            f"{chosen.schedule!r}, which are {' and '.join(map(repr, chosen.strategies))}"
        )
    return chosen
