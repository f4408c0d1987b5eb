"""The cells of a study: one training each, in the order in which they are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sparseagent.study.config import Environment, Study, Variant
from sparseagent.study.method import Method
from sparseagent.train.choose import configure
from sparseagent.train.config import RunConfig

Key = tuple[str, str, str, str, float, int]
_NO_SETTING = ("env", "algo", "seeds", "out", "checkpoint_seconds")


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
        study: name of the study.
        method: how the agent is trained.
        sparsity: fraction of zeros asked for, in [0, 1).
        seed: training seed.
        config: the run, complete.
    """

    study: str
    method: Method
    sparsity: float
    seed: int
    config: RunConfig

    @property
    def key(self) -> Key:
        """What tells its row from all others."""
        config = self.config
        return (self.study, config.env, config.algo, self.method.name, self.sparsity, self.seed)

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return Path(self.config.out)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of a hash of all settings that decide the outcome.

        Settings at their defaults are left out, so that a new field of `RunConfig` changes nothing.
        """
        values = asdict(self.config)
        chosen = {
            f.name: values[f.name]
            for f in fields(RunConfig)
            if f.name not in _NO_SETTING and values[f.name] != _default(f)
        }
        text = json.dumps(chosen, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def agent(self) -> str:
        """Method and sparsity, without the seed: `"gmp 0.95"`."""
        level = f" {self.sparsity:g}" if self.method.has_sparsity else ""
        return self.method.name + level

    def __str__(self) -> str:
        config = self.config
        return f"{config.env} {config.algo} {self.agent} seed {self.seed}"


def cells_of(study: Study) -> tuple[Cell, ...]:
    """All cells, seed by seed: a study that is cut short has equally many seeds everywhere.

    Raises:
        ValueError, TypeError: a setting is out of range; the message names environment and method.
    """
    return tuple(
        _cell(study, environment, study.variants[name], algo=algo, sparsity=sparsity, seed=seed)
        for seed in study.seeds
        for environment in study.environments
        for algo in environment.algos
        for name in environment.methods
        for sparsity in study.variants[name].sparsities
    )


def select_seeds(cells: Sequence[Cell], count: int | None) -> tuple[Cell, ...]:
    """The cells of the first `count` seeds; None for all.

    Raises:
        ValueError: `count` is below 1.
    """
    if count is None:
        return tuple(cells)
    if count < 1:
        raise ValueError(f"seeds: expected 1 or more, got {count}")
    first = list(dict.fromkeys(cell.seed for cell in cells))[:count]
    return tuple(cell for cell in cells if cell.seed in first)


def _cell(
    study: Study,
    environment: Environment,
    variant: Variant,
    *,
    algo: str,
    sparsity: float,
    seed: int,
) -> Cell:
    method = variant.method
    shared, own = dict(environment.settings), dict(variant.settings)
    hyperparameters = {**shared.pop("hyperparameters", {}), **own.pop("hyperparameters", {})}
    place = f"{environment.env}, {algo}, {method.name}"
    level = f"{sparsity:g}" if method.has_sparsity else "whole"
    parts = (study.name, environment.env.replace("/", "-"), algo, method.name, level)
    try:
        config = configure(
            environment.env,
            algo,
            hyperparameters=hyperparameters,
            sparsity=sparsity,
            defaults={},
            **shared,
        )
        config = replace(method.configure(config), **own)
        _check_own(method, config, own)
        config = replace(
            config,
            seeds=(seed,),
            eval_episodes=study.episodes,
            out=str(study.runs.joinpath(*parts, f"seed_{seed}")),
        )
    except (ValueError, TypeError) as error:
        raise type(error)(f"{place}: {error}") from error
    return Cell(study.name, method, sparsity, seed, config)


def _check_own(method: Method, config: RunConfig, names: Iterable[str]) -> None:
    """Refuse settings of a method's own that the method would undo."""
    fixed = method.configure(config)
    for name in names:
        given, kept = getattr(config, name), getattr(fixed, name)
        if given != kept:
            raise ValueError(
                f"settings.{name}: expected none, for the method fixes it at {kept}, got {given}"
            )


def _default(f: Any) -> Any:
    return f.default_factory() if f.default is MISSING else f.default
