"""Search for the sparsest agent that still does as well as the dense one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseagent.train.choices import ALLOCATIONS

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Choice:
    """What one candidate is pruned by.

    Attributes:
        actor_sparsity: in [0, 1).
        critic_sparsity: in [0, 1), or None where the critic is not searched.
        allocation: one of `choices.ALLOCATIONS`.
    """

    actor_sparsity: float
    critic_sparsity: float | None
    allocation: str


Evaluate = Callable[[Choice], tuple[float, float] | None]
"""`evaluate(choice) -> (iqm, latency)`: trains and tests an agent, higher and lower = better.

None where no agent can be pruned by this choice."""


@dataclass(frozen=True)
class SearchSpace:
    """Where to search; densities are drawn on a logarithmic scale.

    Attributes:
        actor_density: lowest and highest density of the actor, in (0, 1].
        critic_density: the same for the critic; None leaves it out, as for PPO, whose critic stays
            dense, and DQN, which has none.
        allocations: names of `choices.ALLOCATIONS`.
        actor_share: how much the actor's sparsity counts in that of the agent, in [0, 1]; 1 counts
            what is deployed, the actor's share of the weights counts the whole agent.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    actor_density: tuple[float, float] = (0.01, 0.5)
    critic_density: tuple[float, float] | None = None
    allocations: tuple[str, ...] = ("erk", "lamp", "global")
    actor_share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("actor_density", "critic_density"):
            given = getattr(self, name)
            if given is not None and not 0.0 < given[0] < given[1] <= 1.0:
                raise ValueError(f"{name}: expected 0 < lowest < highest <= 1, got {given}")
        unknown = [name for name in self.allocations if name not in ALLOCATIONS]
        if unknown or not self.allocations:
            raise ValueError(
                f"allocations: expected names among {', '.join(ALLOCATIONS)}, got "
                f"{self.allocations}"
            )
        if not 0.0 <= self.actor_share <= 1.0:
            raise ValueError(f"actor_share: expected a share in [0, 1], got {self.actor_share}")
        if self.critic_density is None and self.actor_share != 1.0:
            raise ValueError(
                f"actor_share: expected 1 where no critic is searched, got {self.actor_share}"
            )

    def sparsity(self, choice: Choice) -> float:
        """Sparsity of the agent, as far as it counts."""
        critic = choice.critic_sparsity or 0.0
        return self.actor_share * choice.actor_sparsity + (1.0 - self.actor_share) * critic

    def draw(self, trial: optuna.Trial) -> Choice:
        """The candidate that a trial suggests."""
        actor = 1.0 - trial.suggest_float("actor_density", *self.actor_density, log=True)
        critic = None
        if self.critic_density is not None:
            critic = 1.0 - trial.suggest_float("critic_density", *self.critic_density, log=True)
        return Choice(actor, critic, trial.suggest_categorical("allocation", self.allocations))


@dataclass(frozen=True)
class Candidate:
    """A candidate that was tested.

    Attributes:
        choice: how it was pruned.
        sparsity: of the agent, as `SearchSpace.actor_share` counts.
        iqm: its return; -inf where no agent could be made.
        latency: what `evaluate` measured, such as microseconds an action; inf where no agent could
            be made.
        good_enough: whether its return is at least the threshold.
    """

    choice: Choice
    sparsity: float
    iqm: float
    latency: float
    good_enough: bool


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        threshold: least IQM of a candidate that is good enough.
        candidates: all, in the order in which they were tested.
    """

    threshold: float
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        """The sparsest that is good enough, of equals the fastest; None where none is."""
        good = [c for c in self.candidates if c.good_enough]
        return max(good, key=lambda c: (c.sparsity, -c.latency), default=None)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Those that are good enough and of which no other is both sparser and faster.

        Sparsest first.
        """
        good = [c for c in self.candidates if c.good_enough]
        kept = [c for c in good if not any(_dominates(other, c) for other in good)]
        return tuple(sorted(kept, key=lambda c: (-c.sparsity, c.latency)))


def find_sparsest(
    evaluate: Evaluate,
    *,
    dense_iqm: float,
    trials: int,
    storage: str | Path,
    name: str = "search",
    space: SearchSpace | None = None,
    share: float = 0.97,
    seed: int = 0,
) -> SearchResult:
    """Search for the sparsest agent that keeps its return, latency as the second objective.

    Tree-structured Parzen estimators for two objectives under a constraint (Bergstra et al.,
    "Algorithms for Hyper-Parameter Optimization", 2011; Ozaki et al., "Multiobjective
    Tree-Structured Parzen Estimator", 2022), by Optuna. The measure is the "ultimate compression
    ratio" of Tan et al., "RLx2", 2023: the highest sparsity within 3 % of dense.

    Every tested candidate is in the storage. The same call goes on after an interruption, and draws
    what the unbroken search would have drawn, if `evaluate` gives the same for the same. One
    process at a time: a candidate left unfinished is taken for interrupted, and drawn again.

    Args:
        evaluate: trains and tests an agent pruned by a `Choice`: its IQM over seeds and episodes,
            higher = better, and its latency, lower = better. None for a choice by which no agent
            can be pruned: it counts as tested, and the search keeps away from it.
        dense_iqm: that of the dense agent.
        trials: candidates to test in all, those in the storage included, at least 1.
        storage: SQLite file, made where it does not exist.
        name: of the search in the storage.
        space: where to search; the actor alone by default.
        share: of the dense return that has to be kept, in (0, 1]. Below a return of 0 the loss
            allowed is as large: 0.97 of -100 is -103.
        seed: of the draws.

    Returns:
        All candidates tested.

    Raises:
        ImportError: Optuna is not installed (`pip install 'sparseagent[search]'`).
        ValueError: an argument is out of range, the storage holds a search of this name with other
            arguments, or `evaluate` gave a number that is not finite.
    """
    space = SearchSpace() if space is None else space
    check_search(trials, share)
    if not math.isfinite(dense_iqm):
        raise ValueError(f"dense_iqm: expected a finite number, got {dense_iqm}")
    threshold = dense_iqm - (1.0 - share) * abs(dense_iqm)
    import optuna

    with _quiet():
        study = optuna.create_study(
            storage=f"sqlite:///{Path(storage)}",
            study_name=name,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
        _check_same(study, {"space": asdict(space), "threshold": threshold, "seed": seed})
        for stale in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(stale.number, state=optuna.trial.TrialState.FAIL)
        while (done := len(_complete(study))) < trials:
            # A sampler for each trial: the draw then depends on what is complete, and on no state.
            study.sampler = optuna.samplers.TPESampler(seed=seed + done)
            _test_one(study, space, evaluate, threshold)
        found = tuple(_candidate(trial, space, threshold) for trial in _complete(study))
    return SearchResult(threshold, found)


def check_search(trials: int, share: float) -> None:
    """Refuse what `find_sparsest` would, before a dense agent is trained for it.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: an argument is out of range.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"trials: expected an int of at least 1, got {trials!r}")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share: expected a share in (0, 1], got {share}")
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"search: expected Optuna (pip install 'sparseagent[search]'), got: {error}"
        ) from error


def _test_one(
    study: optuna.Study, space: SearchSpace, evaluate: Evaluate, threshold: float
) -> None:
    import optuna

    trial = study.ask()
    try:
        choice = space.draw(trial)
        found = evaluate(choice)
        if found is not None and not all(map(math.isfinite, found)):
            raise ValueError(
                f"evaluate: expected a finite IQM and latency for {choice}, got {found[0]} and "
                f"{found[1]}"
            )
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    iqm, latency = (-math.inf, math.inf) if found is None else found
    trial.set_user_attr("iqm", float(iqm))
    trial.set_constraint("loss beyond the threshold", threshold - float(iqm))
    study.tell(trial, [space.sparsity(choice), float(latency)])


def _complete(study: optuna.Study) -> Sequence[optuna.trial.FrozenTrial]:
    import optuna

    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))


def _candidate(trial: optuna.trial.FrozenTrial, space: SearchSpace, threshold: float) -> Candidate:
    critic = None
    if space.critic_density is not None:
        critic = 1.0 - trial.params["critic_density"]
    choice = Choice(1.0 - trial.params["actor_density"], critic, trial.params["allocation"])
    sparsity, latency = trial.values
    iqm = float(trial.user_attrs["iqm"])
    return Candidate(choice, sparsity, iqm, latency, iqm >= threshold)


def _check_same(study: optuna.Study, settings: dict[str, Any]) -> None:
    """Refuse to mix candidates of searches with other arguments."""
    wanted = repr(settings)
    stored = study.user_attrs.get("settings")
    if stored is None:
        study.set_user_attr("settings", wanted)
    elif stored != wanted:
        raise ValueError(
            f"storage: expected a search with {wanted}, got one with {stored}; give another name"
        )


def _dominates(one: Candidate, other: Candidate) -> bool:
    no_worse = one.sparsity >= other.sparsity and one.latency <= other.latency
    return no_worse and (one.sparsity, one.latency) != (other.sparsity, other.latency)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines on the console."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
