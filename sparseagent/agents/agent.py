"""Agent: what pruning and conversion want to know of a library's agent. One subclass a library."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.agents.acting import Acting
from sparseagent.unsupported import UnreadyError


class Trunk(nn.Module):
    """A chain of layers whose outputs several heads read.

    Args:
        body: The chain; features in, last hidden neurons out.
        heads: What reads them.
        exposed: Whether something else reads them too, such as the exploration noise of gSDE.
    """

    def __init__(self, body: nn.Module, heads: Iterable[nn.Module], *, exposed: bool) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(heads)
        self.exposed = exposed

    def forward(self, features: Tensor) -> list[Tensor]:
        """What the heads return, and the last hidden neurons if they are exposed."""
        hidden = self.body(features)
        outputs = [head(hidden) for head in self.heads]
        return [*outputs, hidden] if self.exposed else outputs


@dataclass(frozen=True, eq=False)
class Network:
    """One network of an agent.

    Attributes:
        module: Features in, outputs out; it shares its layers with the agent.
        twin: The same of a target network, or `None`.
        critic: Whether it is a critic, which does not run when the agent acts.
        group: Networks of one group keep equal hidden widths, such as twin critics.
    """

    module: nn.Module
    twin: nn.Module | None
    critic: bool
    group: str


@dataclass(frozen=True)
class Roles:
    """What the modules of an agent are for, features extractors included.

    Attributes:
        acting_name: What the part that acts is called: `"actor"` or `"q_net"`.
        acting: Modules that run when the agent acts, and in no critic.
        critics: Those that run in training only.
        heads: The parts of `critics` that are networks of their own, such as twin critics.
        shared: Those that run when the agent acts, and that critics read as well.
        left_out: Lies inside `acting`, but the deterministic action does not read it.
        targets: (network, its target network).
        prunes_critic: Whether the critics bear pruning.
    """

    acting_name: str
    acting: tuple[nn.Module, ...]
    critics: tuple[nn.Module, ...] = ()
    heads: tuple[nn.Module, ...] = ()
    shared: tuple[nn.Module, ...] = ()
    left_out: tuple[nn.Module, ...] = ()
    targets: tuple[tuple[nn.Module, nn.Module], ...] = ()
    prunes_critic: bool = False


class Agent(abc.ABC):
    """An agent of one library: where its networks lie, and how it acts.

    Args:
        module: What holds the weights; they are named as in its `state_dict`.
        model: What trains it, or `None` where only the module is at hand.
    """

    library: ClassVar[str]

    def __init__(self, module: nn.Module, model: Any = None) -> None:
        self.module = module
        self.model = model

    def networks(self) -> Sequence[Network]:
        """The networks: the one that acts first, each critic by itself.

        Here: of the roles, each group of modules as the sequence in which it is listed.

        Raises:
            TypeError: The agent is of an unknown kind.
        """
        roles = self.roles()
        critics = roles.heads or ((_sequence(roles.critics),) if roles.critics else ())
        return [
            Network(_sequence(roles.acting), None, False, "actor"),
            *(Network(critic, None, True, "critic") for critic in critics),
        ]

    @abc.abstractmethod
    def roles(self) -> Roles:
        """All modules that hold weights, by what they do.

        Raises:
            TypeError: The agent is of an unknown kind.
        """

    @abc.abstractmethod
    def acting(
        self,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        stochastic: bool = False,
        value: bool = False,
    ) -> Acting:
        """How it acts: for conversion.

        Args:
            observation_space: Replaces its own, or `None`.
            action_space: Replaces its own, or `None`.
            stochastic: Whether the policy should be able to sample as the agent does in training.
            value: Whether the output of the value network should come along.

        Raises:
            TypeError: It acts in a way that is not known; the message names the part.
            ValueError: An option that no policy can follow.
        """

    def acting_optimizer(self) -> Optimizer | None:
        """The one that updates what acts, and that ends a gradient update; `None` if unknown."""
        return next(iter(optimizers_of(self.module)), None)

    def run(self, batch: Any) -> None:
        """Run the actor, and on its actions the critics, so that hooks see their activations.

        Args:
            batch: Observations `[N, ...]`.

        Raises:
            TypeError: The batch is of the wrong type.
        """
        if not isinstance(batch, Tensor):
            raise TypeError(f"batch: expected a tensor [N, in], got {type(batch).__name__}")
        for network in self.networks():
            network.module(batch)

    def recent_observations(self) -> Any:
        """Late observations of the training, `[N, ...]`, as the networks get them.

        Raises:
            TypeError: Nothing keeps them.
            ValueError: There are none yet.
        """
        raise TypeError(
            "batch: expected a function that returns inputs, as nothing keeps observations in "
            f"{type(self.model or self.module).__name__}, got None"
        )

    def resized(self) -> None:  # noqa: B027 - most libraries remember no widths
        """Told when hidden neurons went: bring what remembers the widths up to date.

        Raises:
            ValueError: The library cannot build such widths again.
        """


def _sequence(modules: Sequence[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def derives(thing: object, path: str) -> bool:
    """Whether a class of this name is among those of an object; nothing is imported for it."""
    return any(f"{base.__module__}.{base.__qualname__}" == path for base in type(thing).__mro__)


def comes_from(thing: object, package: str) -> bool:
    """Whether a class of this package is among those of an object."""
    return any(base.__module__.split(".")[0] == package for base in type(thing).__mro__)


def refuse_unready(name: str, module: nn.Module) -> None:
    """Refuse networks with memory and of images, for which there are no rules yet.

    Raises:
        UnreadyError: There is a recurrent layer or a convolution; the message names it.
    """
    for path, child in module.named_modules():
        kind = type(child).__name__
        if isinstance(child, nn.RNNBase):
            raise UnreadyError(
                f"policy: expected one without memory, got {name} with a {kind} at "
                f"'policy.{path}'; policies with memory cannot be compiled yet"
            )
        if isinstance(child, nn.Conv2d):
            raise UnreadyError(
                f"policy: expected one of vectors, got {name} with a {kind} at 'policy.{path}'; "
                "policies of images cannot be compiled yet"
            )


def optimizers_of(module: nn.Module) -> list[Optimizer]:
    """The optimizers that a module and its submodules keep as attributes, as policies do."""
    return [
        value
        for child in module.modules()
        for value in vars(child).values()
        if isinstance(value, Optimizer)
    ]
