"""RunConfig: everything that decides a run, in one frozen dataclass that becomes JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from sparseagent.train.choices import (
    ACTIVATIONS,
    ALGORITHMS,
    ALLOCATIONS,
    DROP_FRACTION,
    GRADIENT_SCORES,
    GROWTHS,
    HYBRID_NEURONS,
    LAYERS,
    ON_POLICY,
    PATTERNS,
    SCHEDULES,
    SCORES,
    check_choice,
    strategies_of,
)


@dataclass(frozen=True)
class RunConfig:
    """One run: environment, algorithm, how the actor is pruned, how it is tested.

    `sparseagent.train.configure` fills in tuned values; the defaults here are plain.

    Attributes:
        env: Gymnasium environment id.
        algo: one of `ALGORITHMS`; Stable-Baselines3 trains.
        sparsity: fraction of the actor's weights that are zero in the end, in [0, 1).
        critic_sparsity: the same for the critics, or "auto": dense for PPO and A2C, whose pruned
            critic costs return, 0.1 below the actor's for SAC, TD3 and DDPG. Only the actor is
            deployed and counted. DQN has no critic.
        layers: one of `LAYERS`: the layers that are pruned, and that `sparsity` is for; the others
            stay dense.
        critic_layers: one of `LAYERS`: the layers of the critics that `critic_sparsity` is for.
            "first" not beside critics that stay dense.
        score: one of `SCORES`. Those of `GRADIENT_SCORES` cannot prune before training, and
            "movement" not with the allocation "lamp", which takes no scores below 0.
        pattern: one of `PATTERNS`.
        neurons: fraction of the neurons of each hidden layer that the pattern "hybrid" removes
            before single weights, in [0, 1).
        allocation: one of `ALLOCATIONS`.
        schedule: one of `SCHEDULES`.
        grow: one of `GROWTHS`. With one, the first masks of the schedule "early" are random, and
            weights are exchanged by score until `prune_stop`; not with "one_shot", which has no
            masks before.
        drop_fraction: with `grow`, share of the kept weights that is exchanged at a change of the
            masks, in [0, 1), at first; it falls to 0 at `prune_stop`.
        output_floor: least density of the output layer, in [0, 1].
        rescale_initial: whether weights that survive pruning before training are scaled up, so
            that each neuron's input keeps its variance.
        mask_gradients: whether gradients of pruned weights are zeroed before their norm is
            clipped; not with `grow`.
        weight_decay: of every optimizer, 0 or more, as the optimizer understands it.
        prune_start: progress in [0, 1) of the pruned agent's training at which pruning starts.
        prune_stop: progress in (prune_start, 1] at which the mask is final; the rest of the
            training fine-tunes under the frozen mask.
        total_timesteps: environment steps of training, for each agent.
        finetune_timesteps: extra steps that only the pruned agent gets, added to the end of its
            training under the frozen mask. 0: the tail after `prune_stop` is the fine-tuning.
        n_envs: parallel training environments in one process.
        net_arch: widths of the hidden layers of the dense and the pruned agent, actor and critic.
        activation: one of `ACTIVATIONS`, or None for the algorithm's own.
        normalize: whether observations and rewards are normalised (VecNormalize).
        hyperparameters: arguments of the Stable-Baselines3 algorithm. A string `"lin_0.001"` is a
            value that falls linearly to 0, `"hold_0.001"` one that does so from the end of pruning
            on (`prune_stop`). `noise_type` ("normal") and `noise_std` give action noise,
            `log_std_init` and `ortho_init` go to the policy.
        seeds: training seeds; each trains its own dense, pruned and tiny agent.
        eval_episodes: test episodes for each agent and seed.
        checkpoint_seconds: wall-clock seconds between two checkpoints inside a stage.
        out: the run folder.

    Raises:
        ValueError: a value is out of range or a name unknown; the message names the field.
        TypeError: a field has the wrong type.
    """

    env: str
    algo: str = "ppo"
    sparsity: float = 0.9
    critic_sparsity: float | Literal["auto"] = "auto"
    layers: str = "all"
    critic_layers: str = "all"
    score: str = "magnitude"
    pattern: str = "unstructured"
    neurons: float = HYBRID_NEURONS
    allocation: str = "erk"
    schedule: str = "cubic"
    grow: str = "none"
    drop_fraction: float = DROP_FRACTION
    output_floor: float = 0.0
    rescale_initial: bool = False
    mask_gradients: bool = False
    weight_decay: float = 0.0
    prune_start: float = 0.2
    prune_stop: float = 0.8
    total_timesteps: int = 100_000
    finetune_timesteps: int = 0
    n_envs: int = 1
    net_arch: tuple[int, ...] = (64, 64)
    activation: str | None = None
    normalize: bool = False
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    eval_episodes: int = 100
    checkpoint_seconds: float = 30.0
    out: str = "runs/latest"

    def __post_init__(self) -> None:
        object.__setattr__(self, "net_arch", _integers("net_arch", self.net_arch))
        object.__setattr__(self, "seeds", _integers("seeds", self.seeds))
        object.__setattr__(self, "hyperparameters", dict(self.hyperparameters))
        self._check_names()
        self._check_pattern()
        self._check_numbers()
        self._check_method()

    @property
    def on_policy(self) -> bool:
        """Whether the algorithm learns from fresh experience only, without a replay buffer."""
        return self.algo in ON_POLICY

    @property
    def strategies(self) -> tuple[str, ...]:
        """What the settings come to, in the names of `choices.STRATEGIES`; at least one."""
        return strategies_of(vars(self))

    @property
    def pruned_timesteps(self) -> int:
        """Environment steps of the pruned agent's training, extra fine-tuning included."""
        return self.total_timesteps + self.finetune_timesteps

    @property
    def ramp(self) -> tuple[float, float]:
        """Start and stop of the pruning schedule as progress of the pruned agent's training.

        Extra fine-tuning lengthens the tail, so that the ramp keeps its place in steps.
        """
        share = self.total_timesteps / self.pruned_timesteps
        return self.prune_start * share, self.prune_stop * share

    @property
    def learning_starts(self) -> int:
        """Environment steps before anything is learned; 100 is the library's default."""
        starts: int = self.hyperparameters.get("learning_starts", 0 if self.on_policy else 100)
        return starts

    @property
    def ramp_steps(self) -> tuple[int, int]:
        """Start and stop of the pruning schedule in environment steps of the pruned agent.

        Progress counts from where learning starts, as in `SparsifierCallback`.
        """
        first, last = self.learning_starts, self.pruned_timesteps
        start, stop = (round(first + share * (last - first)) for share in self.ramp)
        return start, stop

    def to_json(self) -> str:
        """The configuration as an indented JSON object."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not a JSON object, or a field is unknown or out of range.
        """
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError(f"config: expected a JSON object, got {type(given).__name__}")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(
                f"config: expected the fields {', '.join(sorted(known))}, got {', '.join(unknown)}"
            )
        return cls(**given)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to `path`."""
        Path(path).write_text(self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> RunConfig:
        """Read what `save` wrote."""
        return cls.from_json(Path(path).read_text())

    def differences(self, other: RunConfig) -> list[str]:
        """What of `self` and `other` would lead to other results: `"field: mine, not theirs"`."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name}: {mine[name]!r}, not {theirs[name]!r}"
            for name in mine
            if name not in ("out", "checkpoint_seconds") and mine[name] != theirs[name]
        ]

    def _check_names(self) -> None:
        if not isinstance(self.env, str) or not self.env:
            raise TypeError(f"env: expected a Gymnasium id such as 'CartPole-v1', got {self.env!r}")
        for name, known in (
            ("algo", ALGORITHMS),
            ("score", SCORES),
            ("pattern", PATTERNS),
            ("allocation", ALLOCATIONS),
            ("layers", LAYERS),
            ("critic_layers", LAYERS),
            ("schedule", SCHEDULES),
            ("grow", GROWTHS),
        ):
            check_choice(name, getattr(self, name), known)
        if self.activation is not None:
            check_choice("activation", self.activation, ACTIVATIONS)
        for key in self.hyperparameters:
            if not isinstance(key, str):
                raise TypeError(f"hyperparameters: expected names as keys, got {key!r}")

    def _check_pattern(self) -> None:
        if self.pattern in ("neurons", "2:4", "1:4") and self.allocation != "pattern":
            raise ValueError(
                f"allocation: expected 'pattern' beside the pattern {self.pattern!r}, which splits "
                f"the budget by itself, got {self.allocation!r}"
            )
        if self.pattern in ("neurons", "hybrid", "fan_in", "connected") and self.grow != "none":
            raise ValueError(
                f"grow: expected 'none' beside the pattern {self.pattern!r}, which chooses for all "
                f"layers together and takes nothing back, got {self.grow!r}"
            )
        if not 0 <= _number("neurons", self.neurons) < 1:
            raise ValueError(f"neurons: expected a fraction in [0, 1), got {self.neurons}")
        if self.neurons != HYBRID_NEURONS and self.pattern != "hybrid":
            raise ValueError(
                f"neurons: expected {HYBRID_NEURONS} beside the pattern {self.pattern!r}, as only "
                f"'hybrid' looks at it, got {self.neurons}"
            )

    def _check_method(self) -> None:
        if self.score == "movement" and self.allocation == "lamp":
            raise ValueError(
                "allocation: expected another one beside the score 'movement', which is below 0 "
                "where weights shrink, got 'lamp'"
            )
        # With growth the first masks are random.
        by_score = self.schedule == "early" and self.grow == "none"
        if by_score and self.score in GRADIENT_SCORES and self.prune_start == 0:
            raise ValueError(
                f"prune_start: expected more than 0 beside the schedule 'early' and the score "
                f"{self.score!r}, which judges by training, got {self.prune_start}"
            )
        if self.grow != "none" and self.schedule == "one_shot":
            raise ValueError(
                f"schedule: expected one with masks before prune_stop beside grow {self.grow!r}, "
                "which exchanges weights until then, got 'one_shot'"
            )

    def _check_numbers(self) -> None:
        _check_sparsity("sparsity", self.sparsity)
        if self.critic_sparsity != "auto":
            _check_sparsity("critic_sparsity", self.critic_sparsity)
            if self.algo == "dqn":
                raise ValueError(
                    "critic_sparsity: expected 'auto' for dqn, which has no critic, "
                    f"got {self.critic_sparsity}"
                )
        _check_sparsity("drop_fraction", self.drop_fraction)
        if not 0 <= _number("output_floor", self.output_floor) <= 1:
            raise ValueError(f"output_floor: expected a density in [0, 1], got {self.output_floor}")
        for name in ("rescale_initial", "mask_gradients"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected a bool, got {getattr(self, name)!r}")
        if _number("weight_decay", self.weight_decay) < 0:
            raise ValueError(f"weight_decay: expected 0 or more, got {self.weight_decay}")
        start = _number("prune_start", self.prune_start)
        stop = _number("prune_stop", self.prune_stop)
        if not 0 <= start < stop <= 1:
            raise ValueError(
                "prune_start, prune_stop: expected 0 <= prune_start < prune_stop <= 1, "
                f"got {start} and {stop}"
            )
        _at_least("total_timesteps", self.total_timesteps, 1)
        _at_least("finetune_timesteps", self.finetune_timesteps, 0)
        _at_least("n_envs", self.n_envs, 1)
        _at_least("eval_episodes", self.eval_episodes, 1)
        if _number("checkpoint_seconds", self.checkpoint_seconds) < 0:
            raise ValueError(
                f"checkpoint_seconds: expected 0 or more, got {self.checkpoint_seconds}"
            )
        for width in self.net_arch:
            _at_least("net_arch", width, 1)
        for seed in self.seeds:
            _at_least("seeds", seed, 0)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected different numbers, at least one, got {self.seeds}")
        if not self.net_arch:
            raise ValueError("net_arch: expected at least one hidden layer, got none")


def _integers(name: str, values: Any) -> tuple[int, ...]:
    try:
        given = tuple(values)
    except TypeError:
        raise TypeError(f"{name}: expected a sequence of integers, got {values!r}") from None
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}: expected integers, got {value!r}")
    return given


def _check_sparsity(name: str, value: Any) -> None:
    if not 0 <= _number(name, value) < 1:
        raise ValueError(f"{name}: expected a fraction of zeros in [0, 1), got {value}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _at_least(name: str, value: Any, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < lowest:
        raise ValueError(f"{name}: expected {lowest} or more, got {value}")
