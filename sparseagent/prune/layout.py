"""Which layers are pruned, how far, and which target networks share their masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from torch import nn

from sparseagent.agents import Agent, Roles, adapt
from sparseagent.prune.allocation import budget
from sparseagent.prune.chains import find_chains
from sparseagent.prune.checks import require_sparsity
from sparseagent.prune.inputs import input_layers
from sparseagent.prune.joint import find_sources
from sparseagent.prune.layer import (
    Layer,
    Pick,
    Selection,
    below,
    has_pick,
    linear_layers,
    require_plain,
    select,
)

CriticSparsity: TypeAlias = float | Literal["auto"] | None
Targets: TypeAlias = nn.Module | Iterable[nn.Module] | None


@dataclass(frozen=True, eq=False)
class Part:
    """Layers that share one budget.

    Attributes:
        name: `"actor"`, `"critic"`, `"q_net"` or, for a plain module, `"module"`.
        layers: The layers, in the order of the module.
        final: Their joint sparsity at the end of the schedule, in [0, 1).
        outputs: Names of the weights among them that are the last of a network; in a plain module
            found only where a floor asks for it.
        sources: For each layer the place of the one whose neurons it reads, where these can be
            removed, else `None`; found only for patterns that ask for it.
    """

    name: str
    layers: tuple[Layer, ...]
    final: float
    outputs: frozenset[str]
    sources: tuple[int | None, ...] = ()

    def budget(self, sparsity: float) -> int:
        """Weights that this part keeps at a sparsity."""
        return budget(sum(layer.weight.numel() for layer in self.layers), 1.0 - sparsity)

    def sparsity_at(self, requested: float, final: float) -> float:
        """Its sparsity where the schedule asks for `requested` on its way to `final`.

        A part with another final sparsity follows the same ramp, scaled.
        """
        # The division makes its end exact.
        return requested if self.final == final else requested / final * self.final


@dataclass(frozen=True, eq=False)
class Layout:
    """All that a sparsifier prunes.

    Attributes:
        parts: The parts, each with at least one layer.
        twins: (name of the pruned weight, layer of a target network that shares its mask).
    """

    parts: tuple[Part, ...]
    twins: tuple[tuple[str, nn.Linear], ...]


def find_layout(
    module: nn.Module,
    *,
    final: float,
    layers: Selection | None,
    targets: Targets,
    critic_sparsity: CriticSparsity,
    critic_layers: Pick | None,
    floored: bool,
    joint: bool,
    inputs: bool,
) -> Layout:
    """Find out what to prune in a module or a Stable-Baselines3 policy.

    Args:
        module: The network, or `model.policy`.
        final: Sparsity at the end of the schedule.
        layers: Which layers; see `layer.select`.
        targets: Target networks of a plain module.
        critic_sparsity: Final sparsity of the critics of a policy.
        critic_layers: Which layers of the critics alone; `None` for all that `layers` leaves.
        floored: Whether output layers have a floor.
        joint: Whether the pattern asks which layer reads which.
        inputs: Whether a score or growth asks which layers read the observation.

    Raises:
        TypeError: An argument is of the wrong type, or the policy is of an unknown kind.
        ValueError: Nothing is left to prune, an argument does not fit the module, or a part
            would keep less than one weight a layer.
    """
    _require_module(module)
    agent = adapt(module)
    if agent is not None:
        if targets is not None:
            raise ValueError(
                "targets: expected None for a Stable-Baselines3 policy, whose target networks are "
                f"found by themselves, got {type(targets).__name__}"
            )
        layout = _agent_layout(agent, final, layers, critic_sparsity, critic_layers)
    else:
        if critic_layers is not None:
            raise ValueError(
                "critic_layers: expected None for a plain module, which has no critic, got "
                f"{critic_layers}"
            )
        if critic_sparsity != "auto":
            raise ValueError(
                "critic_sparsity: expected 'auto' for a plain module, which has no critic, got "
                f"{critic_sparsity!r}"
            )
        pool = list(linear_layers(module).values())
        # Tracing runs the module's forward, so only where somebody asks.
        asked = floored or has_pick(layers)
        chains = list(find_chains(module, pool)) if asked else []
        chosen = select(pool, layers, chains)
        layout = Layout(
            _parts(chains, ("module", chosen, final)),
            tuple(_module_twins(module, chosen, targets)),
        )
    _require_feasible(layout, module)
    if joint:
        parts = (replace(i, sources=find_sources(module, i.layers)) for i in layout.parts)
        layout = replace(layout, parts=tuple(parts))
    return _with_inputs(module, layout) if inputs else layout


def _with_inputs(module: nn.Module, layout: Layout) -> Layout:
    """The layout whose layers know whether they read the observation."""
    names = input_layers(module, [layer for part in layout.parts for layer in part.layers])
    if not names:
        raise ValueError(
            "score, grow: expected a pruned layer that reads the observation itself, for a method "
            "that chooses inputs, got none: it is left out by layers=, or behind a features "
            "extractor"
        )
    return replace(
        layout,
        parts=tuple(
            replace(
                part,
                layers=tuple(
                    replace(layer, reads_input=layer.name in names) for layer in part.layers
                ),
            )
            for part in layout.parts
        ),
    )


def _require_module(module: object) -> None:
    if not isinstance(module, nn.Module):
        has_policy = isinstance(getattr(module, "policy", None), nn.Module)
        hint = "; pass model.policy" if has_policy else ""
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}{hint}")


def _agent_layout(
    agent: Agent,
    final: float,
    layers: Selection | None,
    critic_sparsity: CriticSparsity,
    critic_layers: Pick | None,
) -> Layout:
    nets = agent.roles()
    critic_final = _critic_final(nets, final, critic_sparsity)
    acting, critics, left_out = _owned(nets.acting), _owned(nets.critics), _owned(nets.left_out)
    copies = _owned(target for _, target in nets.targets)
    pool = [layer for layer in linear_layers(agent.module).values() if layer.module not in copies]
    chains = _chains(nets, [layer for layer in pool if layer.module not in left_out])
    if layers is None or callable(layers) or has_pick(layers):
        # A predicate narrows the default choice; only a name reaches beyond it.
        default = (acting - left_out) | (critics if critic_final else set())
        pool = [layer for layer in pool if layer.module in default]
    chosen = select(pool, layers, chains)
    # A features extractor that both use counts as the actor's: it runs when the agent acts.
    of_critic = [layer for layer in chosen if layer.module in critics - acting]
    of_actor = [layer for layer in chosen if layer not in of_critic]
    if critic_layers is not None:
        of_critic = _picked(of_critic, critic_layers, chains, critic_final)
    if of_critic and not critic_final:
        raise ValueError(
            f"layers: expected no critic layers while critic_sparsity is {critic_sparsity!r}, "
            f"which leaves this critic dense, got {[layer.name for layer in of_critic]}"
        )
    if critic_final and not of_critic and critic_sparsity != "auto":
        raise ValueError(
            f"critic_sparsity: expected None, as layers selects no critic layer, got "
            f"{critic_sparsity!r}"
        )
    parts = _parts(chains, (nets.acting_name, of_actor, final), ("critic", of_critic, critic_final))
    return Layout(parts, tuple(_policy_twins(nets.targets, chosen)))


def _picked(
    of_critic: Sequence[Layer],
    critic_layers: Pick,
    chains: Iterable[Sequence[Layer]],
    critic_final: float,
) -> list[Layer]:
    """The layers of critics that `critic_layers` chooses."""
    if not has_pick(critic_layers) or isinstance(critic_layers, type):
        raise TypeError(
            f"critic_layers: expected a choice such as First(1), got {type(critic_layers).__name__}"
        )
    if not critic_final:
        raise ValueError(
            "critic_layers: expected None beside critics that stay dense, got "
            f"{critic_layers}; say how far with critic_sparsity"
        )
    return select(of_critic, critic_layers, chains)


def _chains(nets: Roles, layers: Sequence[Layer]) -> list[list[Layer]]:
    """The layers of each network of a policy, in the order in which they run."""
    acting, critics = _owned(nets.acting), _owned(nets.critics)
    heads = [_owned([head]) for head in nets.heads]
    chains = [[layer for layer in layers if layer.module in head] for head in heads]
    in_heads = set().union(*heads)
    # What several Q-networks share runs before them; a value network is one network as a whole.
    before = [layer for layer in layers if layer.module in critics - acting - in_heads]
    chains[:1] = [before + chains[0]] if chains else [before]
    return [[layer for layer in layers if layer.module in acting], *chains]


def _critic_final(nets: Roles, final: float, critic_sparsity: CriticSparsity) -> float:
    if critic_sparsity == "auto":
        # Rounded, because 0.9 - 0.1 should read 0.8 in a report. The value network of PPO and A2C
        # stays dense: it does not run at inference, and pruning it is what costs the return.
        return max(0.0, round(final - 0.10, 12)) if nets.prunes_critic else 0.0
    if critic_sparsity is None:
        return 0.0
    require_sparsity("critic_sparsity", critic_sparsity)
    if critic_sparsity and not nets.critics:
        raise ValueError(
            f"critic_sparsity: expected 'auto' or None for a policy without a critic, got "
            f"{critic_sparsity}"
        )
    if critic_sparsity and not final:
        raise ValueError(
            "critic_sparsity: expected None while the schedule stays at sparsity 0, got "
            f"{critic_sparsity}"
        )
    return critic_sparsity


def _owned(modules: Iterable[nn.Module]) -> set[nn.Linear]:
    return {linear for module in modules for linear in below(module).values()}


def _parts(
    chains: Iterable[Sequence[Layer]], *parts: tuple[str, Sequence[Layer], float]
) -> tuple[Part, ...]:
    last = {chain[-1].name for chain in chains if chain}
    return tuple(
        Part(name, tuple(layers), final, frozenset(last & {layer.name for layer in layers}))
        for name, layers, final in parts
        if layers
    )


def _policy_twins(
    pairs: Iterable[tuple[nn.Module, nn.Module]], chosen: Iterable[Layer]
) -> Iterator[tuple[str, nn.Linear]]:
    names = {layer.module: layer.name for layer in chosen}
    for online, target in pairs:
        copies = below(target)
        for path, linear in below(online).items():
            if linear in names and path in copies:
                yield names[linear], copies[path]


def _module_twins(
    module: nn.Module, chosen: Sequence[Layer], targets: Targets
) -> Iterator[tuple[str, nn.Linear]]:
    pruned = {layer.module: layer.name for layer in chosen}
    online = below(module)
    for target in _as_modules(targets):
        shared = 0
        for path, linear in below(target).items():
            if path not in online or online[path].weight.shape != linear.weight.shape:
                raise ValueError(
                    f"targets: expected the layers of the module, got {path!r} with the shape "
                    f"{list(linear.weight.shape)}, which it has not"
                )
            if linear.weight is online[path].weight:
                raise ValueError(f"targets: expected a copy of the module, got {path!r} itself")
            if online[path] in pruned:
                shared += 1
                yield pruned[online[path]], linear
        if not shared:
            raise ValueError("targets: expected at least one pruned layer in each target, got none")


def _as_modules(targets: Targets) -> tuple[nn.Module, ...]:
    if targets is None:
        return ()
    found = (targets,) if isinstance(targets, nn.Module) else tuple(targets)
    for target in found:
        if not isinstance(target, nn.Module):
            raise TypeError(f"targets: expected torch.nn.Module, got {type(target).__name__}")
    return found


def _require_feasible(layout: Layout, module: nn.Module) -> None:
    if not layout.parts:
        raise ValueError(
            f"layers: expected at least one nn.Linear to prune in {type(module).__name__}, got none"
        )
    for part in layout.parts:
        for layer in part.layers:
            require_plain(layer)
        kept = part.budget(part.final)
        if kept < len(part.layers):
            raise ValueError(
                f"schedule: expected to keep at least one weight in each of the {len(part.layers)} "
                f"layers of the {part.name}, got a sparsity of {part.final}, which keeps {kept} of "
                f"{part.budget(0.0)} weights"
            )
