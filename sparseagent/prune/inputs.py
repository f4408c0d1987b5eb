"""Which layers read the observation itself, so that their columns are inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, fx, nn

from sparseagent.agents import Agent, adapt
from sparseagent.prune.layer import Layer, weight_key
from sparseagent.prune.neuron_layers import trace


def asks_for_inputs(method: object) -> bool:
    """Whether a score or growth wants to know which layers read the observation."""
    return bool(getattr(method, "needs_inputs", False))


def input_layers(module: nn.Module, layers: Iterable[Layer]) -> frozenset[str]:
    """Names of the weights whose columns are inputs: no layer with a matrix runs before them.

    The networks of an agent are known. Behind a features extractor with weights, such as a
    convolutional one, a layer reads features, no inputs. A plain module is traced; where it cannot
    be, the first layer that was registered counts.

    Args:
        module: A network, or the policy of an agent.
        layers: Layers of it.
    """
    agent = adapt(module)
    found = _of_module(module) if agent is None else _of_agent(agent)
    keys = {weight_key(layer) for layer in found if isinstance(layer, nn.Linear)}
    return frozenset(layer.name for layer in layers if weight_key(layer.module) in keys)


def by_column(columns: Tensor, inner: Tensor) -> Tensor:
    """Ranks by the columns, and inside a column by its own values.

    Args:
        columns: `[in]`, higher = first.
        inner: `[out, in]`.

    Returns:
        `[out, in]` float64, the numbers from 0 (last) to out * in - 1; ties go to the first column
        and row.
    """
    return _ranks(columns[None])[0] * inner.shape[0] + _ranks(inner.detach().T).T


def _ranks(values: Tensor) -> Tensor:
    """Per row, numbers from 0 (lowest) to n - 1; among equals the first is the highest."""
    order = torch.argsort(values, dim=1, descending=True, stable=True)
    count = values.shape[1]
    falling = torch.arange(count - 1, -1, -1, dtype=torch.float64, device=values.device)
    ranks = torch.empty(values.shape, dtype=torch.float64, device=values.device)
    return ranks.scatter_(1, order, falling.expand_as(ranks))


def _of_agent(agent: Agent) -> Iterator[nn.Module]:
    """The first matrix of each network; in an agent, layers are registered as they run."""
    roles = agent.roles()
    acting, critics = _below(roles.acting), _below(roles.critics)
    copies = _below(target for _, target in roles.targets)
    heads = [_below([head]) for head in roles.heads]
    mixing = [child for child in agent.module.modules() if _mixes(child) and child not in copies]
    # A features extractor that all networks share belongs to none of them.
    shared = set(mixing) - acting - critics
    before_heads = critics - set[nn.Module]().union(*heads)
    networks = [acting, *(before_heads | head for head in heads)] if heads else [acting, critics]
    for network in networks:
        yield from [child for child in mixing if child in network or child in shared][:1]


def _of_module(module: nn.Module) -> Iterator[nn.Module]:
    try:
        graph = trace(module)
    except ValueError:
        yield from [child for child in module.modules() if _mixes(child)][:1]
        return
    named = dict(module.named_modules())
    mixed: dict[fx.Node, bool] = {}  # whether a matrix lies before the value
    found, behind = [], set()
    for node in graph.nodes:
        late = any(mixed[one] for one in node.all_input_nodes)
        called = named[str(node.target)] if node.op == "call_module" else None
        mixes = called is not None and _mixes(called)
        mixed[node] = late or mixes
        if called is not None and mixes:
            found.append(called)
            behind |= {called} if late else set()
    # A layer that runs twice may read inputs once, and neurons once.
    yield from (child for child in found if child not in behind)


def _mixes(module: nn.Module) -> bool:
    """Whether a module has a matrix of its own: a norm of each input has none."""
    own = module.parameters(recurse=False)
    return not any(module.children()) and any(parameter.dim() > 1 for parameter in own)


def _below(modules: Iterable[nn.Module]) -> set[nn.Module]:
    return {child for module in modules for child in module.modules()}
