"""Lottery tickets: prune a trained network, rewind what is left, and train again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from sparseagent.agents import module_of
from sparseagent.prune.allocation import Allocation
from sparseagent.prune.checks import require_callable, require_count, require_fraction
from sparseagent.prune.layer import Selection
from sparseagent.prune.layout import CriticSparsity
from sparseagent.prune.pattern.protocol import Pattern
from sparseagent.prune.pattern.unstructured import Unstructured
from sparseagent.prune.schedule import Geometric
from sparseagent.prune.score.magnitude import Magnitude
from sparseagent.prune.score.protocol import Score
from sparseagent.prune.sparsifier import Sparsifier

_UNSTRUCTURED = Unstructured()

Agent = TypeVar("Agent")


@dataclass(frozen=True, eq=False)
class Ticket(Generic[Agent]):
    """The trained agent of one round.

    Attributes:
        round: From 0, the dense one.
        agent: What `start` made and `train` trained.
        sparsifier: Its masks, frozen.
    """

    round: int
    agent: Agent
    sparsifier: Sparsifier


@dataclass(frozen=True)
class _Search:
    """What does not change between rounds."""

    to: float
    rounds: int
    score: Score
    options: Mapping[str, Any]

    def sparsifier(self, module: nn.Module, **kept: Any) -> Sparsifier:
        """A new one that takes over the given entries of another one's state."""
        schedule = Geometric(self.to, start=0.0, stop=1.0)
        made = Sparsifier(module, score=self.score, schedule=schedule, **self.options)
        made.load_state_dict({**made.state_dict(), **kept})
        return made

    def ticket(
        self, module: nn.Module, last: Ticket[Any] | None, weights: Mapping[str, Tensor]
    ) -> Sparsifier:
        """Prune what the last round has trained, and rewind.

        Args:
            module: A fresh network, which is left with the rewound weights under the new masks.
            last: The round before; its agent belongs to the caller and is not changed.
            weights: State to rewind to.
        """
        if last is None:
            made = self.sparsifier(module)
        else:
            state = last.sparsifier.state_dict()
            kept = {key: state[key] for key in ("masks", "reached", "observed")}
            module.load_state_dict(module_of("start", last.agent).state_dict())
            chooser = self.sparsifier(module, **kept)
            chooser.step((last.round + 1) / self.rounds)
            state = chooser.state_dict()
            module.load_state_dict(weights)
            made = self.sparsifier(module, masks=state["masks"], reached=state["reached"])
        made.freeze()
        return made


def lottery(
    start: Callable[[], Agent],
    train: Callable[[Agent, Sparsifier], None],
    *,
    to: float,
    rounds: int = 10,
    rewind: float = 0.0,
    score: Score | None = None,
    allocate: Allocation | None = None,
    pattern: Pattern = _UNSTRUCTURED,
    layers: Selection | None = None,
    critic_sparsity: CriticSparsity = "auto",
) -> Iterator[Ticket[Agent]]:
    """Iterative pruning with rewinding: `rounds` + 1 trainings from the same weights.

    Round 0 trains the dense agent. Each further round prunes the agent that the round before has
    trained, by the same share of its remaining weights; sets those that stay back to what they were
    at the start of round 0, or early in it; and trains them under the masks, which are kept.

    Sources: Frankle & Carbin, "The Lottery Ticket Hypothesis", 2019; early weights: Frankle et al.,
    "Linear Mode Connectivity and the Lottery Ticket Hypothesis", 2020; in deep RL: Vischer et al.,
    "On Lottery Tickets and Minimal Task Representations in Deep Reinforcement Learning", 2022.

    Args:
        start: Makes a fresh agent, with a fresh optimizer: an `nn.Module`, or an object whose
            `policy` is one, such as a model of Stable-Baselines3. Its weights are replaced after
            round 0, so its seed decides only about the rest, such as environments.
        train: Trains it from beginning to end with the sparsifier attached: `model.learn(n,
            callback=sparsifier.callback())`, or `sparsifier.attach(optimizer, total_updates=n)`.
        to: Sparsity of the last round, in [0, 1).
        rounds: Times that the agent is pruned, at least 1.
        rewind: Progress of round 0 whose weights are gone back to, in [0, 1); 0 for the initial
            ones.
        score: Which weights matter; `Magnitude()` by default.
        allocate: How the budget is split over layers, as for `Sparsifier`.
        pattern: Which shapes of zeros are legal.
        layers: Which layers, as for `Sparsifier`.
        critic_sparsity: As for `Sparsifier`.

    Yields:
        The ticket of each round, after its training. The next round begins when it is asked for.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.
        RuntimeError: `train` did not attach the sparsifier, or ended before `rewind`.
    """
    require_callable("start", start, "() -> agent")
    require_callable("train", train, "(agent, sparsifier) -> None")
    require_count("rounds", rounds)
    require_fraction("rewind", rewind)
    options = {
        "allocate": allocate,
        "pattern": pattern,
        "layers": layers,
        "critic_sparsity": critic_sparsity,
    }
    search = _Search(to, rounds, Magnitude() if score is None else score, options)
    return _rounds(search, start, train, rewind)


def _rounds(
    search: _Search,
    start: Callable[[], Agent],
    train: Callable[[Agent, Sparsifier], None],
    rewind: float,
) -> Iterator[Ticket[Agent]]:
    weights: dict[str, Tensor] = {}
    last: Ticket[Agent] | None = None
    for index in range(search.rounds + 1):
        agent = start()
        module = module_of("start", agent)
        sparsifier = search.ticket(module, last, weights)
        if last is None:
            _keep(weights, module, sparsifier, rewind)
        train(agent, sparsifier)
        _check(module, sparsifier, weights, rewind)
        last = Ticket(index, agent, sparsifier)
        yield last


def _keep(
    weights: dict[str, Tensor], module: nn.Module, sparsifier: Sparsifier, rewind: float
) -> None:
    """Copy the weights into `weights` at the progress to rewind to."""

    def copy_weights() -> None:
        weights.update({k: v.detach().clone() for k, v in module.state_dict().items()})

    if rewind:
        sparsifier.when(rewind, copy_weights)
    else:
        copy_weights()


def _check(
    module: nn.Module, sparsifier: Sparsifier, weights: Mapping[str, Tensor], rewind: float
) -> None:
    if not weights:
        raise RuntimeError(
            f"train: expected to pass progress {rewind}, to which the weights are rewound, got "
            f"{sparsifier.progress} at the end; is the sparsifier attached?"
        )
    state = module.state_dict()
    for name, mask in sparsifier.masks.items():
        if bool(state[name][~mask].any()):
            raise RuntimeError(
                f"train: expected the pruned weights of {name!r} to stay zero; attach the "
                "sparsifier to the optimizer, or pass its callback to model.learn"
            )
