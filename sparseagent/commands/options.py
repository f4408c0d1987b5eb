"""The options that `run`, `train`, `prune` and `search` share on the command line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from sparseagent.train.choices import (
    ALGORITHMS,
    ALLOCATIONS,
    GROWTHS,
    PATTERNS,
    SCHEDULES,
    SCORES,
    STRATEGIES,
)
from sparseagent.train.choose import configure, with_strategy
from sparseagent.train.config import RunConfig

# Groups of options in the help.
_pruning = partial(typer.Option, rich_help_panel="Pruning")
_training = partial(typer.Option, rich_help_panel="Training")
_folder = partial(typer.Option, rich_help_panel="Folder")


def _names(known: Iterable[str]) -> str:
    return ", ".join(known)


def _choices(text: str, known: Mapping[str, str]) -> str:
    """Help for an option with named choices; the first one is the default."""
    return text + "; ".join(f"{name} ({meaning})" for name, meaning in known.items()) + "."


@dataclass(frozen=True)
class RunOptions:
    """What a user may say about a run; None leaves the preset's value."""

    env: Annotated[
        str | None, typer.Option(help="Gymnasium environment id, such as CartPole-v1.")
    ] = None
    algo: Annotated[str | None, typer.Option(help=f"{_names(ALGORITHMS)}. Default: ppo.")] = None
    sparsity: Annotated[
        float | None,
        _pruning(help="Final fraction of zeros in the actor, in [0, 1). Default: 0.9."),
    ] = None
    out: Annotated[
        str | None, typer.Option(help="Run folder. Default: `runs/<env>-<algo>-<sparsity>`.")
    ] = None
    steps: Annotated[
        int | None, _training(help="Environment steps of training, for each agent.")
    ] = None
    finetune_steps: Annotated[
        int | None,
        _training(
            help="Extra steps for the pruned agent alone, under the frozen mask. Default: 0; the "
            "steps after --prune-stop fine-tune."
        ),
    ] = None
    critic_sparsity: Annotated[
        float | None,
        _pruning(
            help="Fraction of zeros in the critics. Default: dense for ppo and a2c, 0.1 below the "
            "actor's for sac, td3 and ddpg."
        ),
    ] = None
    strategy: Annotated[
        str | None,
        _pruning(
            help=_choices("What to start from, to be refined by the options below: ", STRATEGIES)
        ),
    ] = None
    score: Annotated[str | None, _pruning(help=_choices("Which weights stay: ", SCORES))] = None
    pattern: Annotated[str | None, _pruning(help=_choices("Which zeros are legal: ", PATTERNS))] = (
        None
    )
    neurons: Annotated[
        float | None,
        _pruning(
            help="With --pattern hybrid, fraction of the neurons that go first. Default: 0.5."
        ),
    ] = None
    allocation: Annotated[
        str | None,
        _pruning(help=_choices("How the zeros are split over the layers: ", ALLOCATIONS)),
    ] = None
    schedule: Annotated[str | None, _pruning(help=_choices("When they come: ", SCHEDULES))] = None
    grow: Annotated[
        str | None, _pruning(help=_choices("Which pruned weights come back: ", GROWTHS))
    ] = None
    drop_fraction: Annotated[
        float | None,
        _pruning(help="With --grow, share of the weights exchanged at first. Default: 0.3."),
    ] = None
    output_floor: Annotated[
        float | None, _pruning(help="Least density of the output layer. Default: 0.")
    ] = None
    rescale_initial: Annotated[
        bool | None,
        _pruning(help="Scale up what pruning before training leaves of each neuron's input."),
    ] = None
    mask_gradients: Annotated[
        bool | None,
        _pruning(help="Zero the gradients of pruned weights before their norm is clipped."),
    ] = None
    weight_decay: Annotated[
        float | None, _training(help="Weight decay of the optimizers. Default: 0.")
    ] = None
    prune_start: Annotated[
        float | None, _pruning(help="Share of the training after which pruning starts.")
    ] = None
    prune_stop: Annotated[
        float | None, _pruning(help="Share of the training after which the mask is frozen.")
    ] = None
    net: Annotated[
        str | None, _training(help="Hidden widths of the dense agent, such as 64,64.")
    ] = None
    activation: Annotated[
        str | None, _training(help="Hidden activation, such as tanh or relu.")
    ] = None
    n_envs: Annotated[int | None, _training(help="Parallel training environments.")] = None
    normalize: Annotated[bool | None, _training(help="Normalise observations and rewards.")] = None
    hyperparameter: Annotated[
        list[str] | None,
        _training(
            "--set",
            help="A hyperparameter of the Stable-Baselines3 algorithm, such as "
            "learning_rate=lin_0.001 (falls linearly to 0; hold_0.001: from --prune-stop on) or "
            "n_steps=256. May be repeated.",
        ),
    ] = None
    seed: Annotated[
        list[int] | None,
        _training(help="Training seed; repeat it to train several agents each. Default: 0."),
    ] = None
    episodes: Annotated[
        int | None, typer.Option(help="Test episodes for each agent and seed. Default: 100.")
    ] = None
    checkpoint_seconds: Annotated[
        float | None, _folder(help="Seconds between checkpoints. Default: 30.")
    ] = None
    config: Annotated[
        Path | None, _folder(help="Start from this config.json instead of a preset.")
    ] = None
    overwrite: Annotated[
        bool, _folder("--overwrite", help="Throw away the run that the folder holds.")
    ] = False

    trust_folder: Annotated[
        bool,
        _folder(
            "--trust-folder",
            help="Use files of the folder that were changed after they were written. Models and "
            "checkpoints are pickles, which may run any code.",
        ),
    ] = False

    def to_config(self) -> RunConfig:
        """The configuration: a file or the preset, with what was said on the command line.

        Raises:
            ValueError, TypeError: as `RunConfig`, or an option cannot be read.
        """
        critic = {} if self.critic_sparsity is None else {"critic_sparsity": self.critic_sparsity}
        said: dict[str, Any] = {
            "sparsity": self.sparsity,
            "out": self.out,
            "total_timesteps": self.steps,
            "finetune_timesteps": self.finetune_steps,
            "score": self.score,
            "pattern": self.pattern,
            "neurons": self.neurons,
            "allocation": self.allocation,
            "schedule": self.schedule,
            "grow": self.grow,
            "drop_fraction": self.drop_fraction,
            "output_floor": self.output_floor,
            "rescale_initial": self.rescale_initial,
            "mask_gradients": self.mask_gradients,
            "weight_decay": self.weight_decay,
            "prune_start": self.prune_start,
            "prune_stop": self.prune_stop,
            "net_arch": None if self.net is None else _widths(self.net),
            "activation": self.activation,
            "n_envs": self.n_envs,
            "normalize": self.normalize,
            "seeds": tuple(self.seed) if self.seed else None,
            "eval_episodes": self.episodes,
            "checkpoint_seconds": self.checkpoint_seconds,
            **critic,
        }
        pairs = dict(_pair(text) for text in self.hyperparameter or [])
        if self.config is not None:
            return self._from_file(said, pairs)
        if self.env is None:
            raise ValueError("env: expected an environment id such as --env CartPole-v1, got none")
        config = configure(
            self.env,
            (self.algo or "ppo").lower(),
            hyperparameters=pairs,
            strategy=self.strategy,
            **said,
        )
        if self.out is None:
            name = f"{config.env}-{config.algo}-{config.sparsity:g}".replace("/", "_")
            config = replace(config, out=f"runs/{name}")
        return config

    def _from_file(self, said: dict[str, Any], pairs: dict[str, Any]) -> RunConfig:
        assert self.config is not None
        base = RunConfig.load(self.config)
        given = {"env": self.env, "algo": self.algo and self.algo.lower(), **said}
        changes = {name: value for name, value in given.items() if value is not None}
        changes["hyperparameters"] = {**base.hyperparameters, **pairs}
        return with_strategy(base, self.strategy, changes)


@dataclass(frozen=True)
class SearchOptions(RunOptions):
    """What a search wants to know besides."""

    trials: Annotated[int, typer.Option(help="Candidates to test in all.", min=1)] = 40
    share: Annotated[
        float, typer.Option(help="Share of the dense agent's return that has to be kept.")
    ] = 0.97


def takes_run_options(command: Callable[[Any], None]) -> Callable[..., None]:
    """Turn a function of `RunOptions`, or of a class made from it, into one of its fields."""
    kind = get_type_hints(command)["options"]
    hints = get_type_hints(kind, include_extras=True)

    def with_options(**given: Any) -> None:
        command(kind(**given))

    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__annotations__ = {**hints, "return": None}
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_options


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"net: expected widths such as 64,64, got {text!r}") from None


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"set: expected <name>=<value>, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
