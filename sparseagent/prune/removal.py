"""Removal of hidden neurons: layers really shrink."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparseagent.agents import Agent, adapt, module_of, optimizers_of
from sparseagent.prune.chains import find_chains
from sparseagent.prune.checks import require_method, require_sparsity
from sparseagent.prune.layer import Layer, Selection, has_pick, require_plain, select
from sparseagent.prune.neuron.protocol import NeuronScore
from sparseagent.prune.neuron_layers import NeuronLayer, find_neurons, removable, with_twin
from sparseagent.prune.neurons import look, record
from sparseagent.prune.surgery import as_optimizers, cut_inputs, cut_outputs

Optimizers = Optimizer | Iterable[Optimizer]


@dataclass(frozen=True, eq=False)
class Removed:
    """What a removal did.

    Attributes:
        rows: Indices of the outputs that a layer kept, by the name of its weight; layers that lost
            none are not listed.
        columns: The same for inputs.
    """

    rows: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, Tensor] = field(default_factory=dict)

    def cut(self, name: str, matrix: Tensor) -> Tensor:
        """A matrix shaped like a weight before, `[out, in]`, cut as the weight was."""
        for axis, kept in ((0, self.rows.get(name)), (1, self.columns.get(name))):
            if kept is not None:
                matrix = matrix.index_select(axis, kept.to(matrix.device))
        return matrix


def remove_neurons(
    module: Any,
    score: NeuronScore,
    *,
    amount: float | None = None,
    below: float | None = None,
    batch: Any = None,
    compensate: bool = False,
    layers: Selection | None = None,
    critics: bool = False,
    optimizers: Optimizers = (),
    target: nn.Module | None = None,
) -> Removed:
    """Remove the neurons of lowest score; in place, so that training goes on with fewer.

    A neuron goes with its row, its bias, and the columns of the layers that read it, in the
    optimizers' moments and in target networks too. One without incoming weights gives a constant,
    which is added to the biases behind it. Every layer keeps at least one neuron.

    Args:
        module: A network; a policy of Stable-Baselines3, whose optimizers and target networks are
            found; or the model, whose `policy_kwargs` are then brought up to date, so that
            `model.save` writes what `load` can build.
        score: Which neurons matter.
        amount: Fraction of the neurons of each layer to remove, in [0, 1), rounded.
        below: Instead, remove the neurons whose score is this or less, such as 0.1 for
            `NeuronDormancy`. Critics that share their widths keep as many as the largest of them.
        batch: Inputs `[N, ...]` on which activations are recorded, see `neurons.record`.
        compensate: Whether the mean activation of a removed neuron on `batch` is added to the
            biases behind it.
        layers: Which hidden layers: `None` for all that can lose neurons; names; or, as in
            `Sparsifier`, a predicate, `Top(n)` or `Hidden()`, which narrow the default. `Top`
            counts the output layer.
        critics: Whether the critics of a policy lose neurons, too.
        optimizers: Those that update a plain module, or further ones beside a policy's own.
        target: Target network of a plain module, a copy of it.

    Returns:
        Which neurons are left.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, both or none of `amount` and `below` are given, a
            chosen layer cannot lose neurons, or the score lacks what it looks at.
    """
    require_method("score", score, "score")
    if (amount is None) == (below is None):
        raise ValueError(f"amount: expected this or below, got {amount} and {below}")
    if amount is not None:
        require_sparsity("amount", amount)
    if compensate and batch is None:
        raise ValueError("batch: expected inputs for compensate=True, got None")
    work = _Work.of(module, layers, critics, optimizers, target)
    recorded = {} if batch is None else record(work.module, work.hidden, batch)
    ranks, counts = {}, {}
    for hidden in work.hidden:
        scores = score.score(look(hidden, recorded.get(hidden.name)))
        ranks[hidden.name] = _checked(scores, hidden)
        kept = scores.numel() - round(amount * scores.numel()) if amount is not None else 0
        counts[hidden.name] = max(1, int((scores > below).sum()) if below is not None else kept)
    means = {name: values.mean(dim=0) for name, values in recorded.items() if compensate}
    _require_biases(work.hidden if compensate else [])
    return work.keep(ranks, counts, means)


def remove_dead_neurons(
    module: Any,
    *,
    layers: Selection | None = None,
    critics: bool = False,
    optimizers: Optimizers = (),
    target: nn.Module | None = None,
) -> Removed:
    """Remove the neurons that do nothing: the outputs stay the same, up to rounding.

    A neuron is dead if no layer reads it with a weight other than zero, or if all its incoming
    weights are zero; the constant of the latter is added to the biases behind it, and where a
    layer behind it has none, it stays. Repeated until nothing changes. Every layer keeps one
    neuron, even where all are dead.

    Args:
        module: As in `remove_neurons`.
        layers: As in `remove_neurons`.
        critics: As in `remove_neurons`.
        optimizers: As in `remove_neurons`.
        target: As in `remove_neurons`. A neuron goes only if it is dead in both.

    Returns:
        Which neurons are left.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A chosen layer cannot lose neurons.
    """
    total = Removed()
    while True:
        work = _Work.of(module, layers, critics, optimizers, target)
        alive = {hidden.name: _alive(hidden) for hidden in work.hidden}
        counts = {name: max(1, int(mark.sum())) for name, mark in alive.items()}
        ranks = {name: mark.to(torch.float32) for name, mark in alive.items()}
        removed = work.keep(ranks, counts, {})
        if not removed.rows:
            return total
        total = _joined(total, removed)


def _require_biases(hidden: Sequence[NeuronLayer]) -> None:
    for one in hidden:
        if not _has_biases(one):
            raise ValueError(
                f"compensate: expected False where a layer that reads the neurons of {one.name!r} "
                "has no bias, got True"
            )


def _checked(scores: Tensor, hidden: NeuronLayer) -> Tensor:
    width = hidden.layer.out_features
    if scores.shape != (width,) or not bool(torch.isfinite(scores).all()):
        raise ValueError(
            f"score: expected {width} finite numbers for {hidden.name!r}, got {scores}"
        )
    return scores.detach()


def _alive(hidden: NeuronLayer) -> Tensor:
    """Which neurons do something in any of the copies, `[out]` bool."""
    marks = [_constant(copy) & _has_biases(copy) | _unread(copy) for copy in hidden.copies]
    return ~torch.stack([mark.cpu() for mark in marks]).all(dim=0)


def _constant(hidden: NeuronLayer) -> Tensor:
    return ~(hidden.layer.weight != 0).any(dim=1)


def _unread(hidden: NeuronLayer) -> Tensor:
    return ~torch.stack([(read.layer.weight != 0).any(dim=0) for read in hidden.reads]).any(dim=0)


def _has_biases(hidden: NeuronLayer) -> bool:
    return all(read.layer._parameters["bias"] is not None for read in hidden.reads)


def _joined(before: Removed, after: Removed) -> Removed:
    """Two removals as one."""

    def join(one: dict[str, Tensor], two: dict[str, Tensor]) -> dict[str, Tensor]:
        return one | {name: one[name][kept] if name in one else kept for name, kept in two.items()}

    return Removed(join(before.rows, after.rows), join(before.columns, after.columns))


@dataclass(frozen=True, eq=False)
class _Work:
    """A module, what can be removed of it, and all that has to follow."""

    module: nn.Module
    agent: Agent | None
    hidden: list[NeuronLayer]
    names: dict[nn.Linear, str]
    optimizers: list[Optimizer]

    @staticmethod
    def of(
        given: Any,
        layers: Selection | None,
        critics: bool,
        optimizers: Optimizers,
        target: nn.Module | None,
    ) -> _Work:
        module = module_of("module", given)
        agent = adapt(given)
        found = find_neurons(module)
        if target is not None:
            if agent is not None:
                raise ValueError("target: expected None for a policy, whose targets are found")
            found = with_twin(found, target)
        names = {hidden.layer: hidden.name for hidden in found}
        chosen = _choose(module, found, layers, critics)
        for hidden in chosen:
            for copy in hidden.copies:
                for layer in (copy.layer, *(read.layer for read in copy.reads)):
                    require_plain(Layer(hidden.name, layer))
        own = optimizers_of(module)
        others = [i for i in as_optimizers(optimizers) if all(i is not one for one in own)]
        return _Work(module, agent, chosen, names, own + others)

    @torch.no_grad()
    def keep(
        self, ranks: dict[str, Tensor], counts: dict[str, int], means: dict[str, Tensor]
    ) -> Removed:
        """Keep the neurons of highest rank, as many of each layer as the largest of its group."""
        removed = Removed()
        for hidden in self.hidden:
            group = [other.name for other in self.hidden if other.group == hidden.group]
            count = max(counts[name] for name in group)
            order = torch.argsort(ranks[hidden.name].cpu(), descending=True, stable=True)
            if count == order.numel():
                continue
            kept, gone = order[:count].sort().values, order[count:]
            for copy in hidden.copies:
                _fold(copy, gone, means.get(hidden.name))
                cut_outputs(copy.layer, kept, self.optimizers)
                for read in copy.reads:
                    cut_inputs(read.layer, kept, self.optimizers)
            removed.rows[hidden.name] = kept
            removed.columns.update({self.names[read.layer]: kept for read in hidden.reads})
        if removed.rows and self.agent is not None:
            self.agent.resized()
        return removed


def _choose(
    module: nn.Module, found: list[NeuronLayer], layers: Selection | None, critics: bool
) -> list[NeuronLayer]:
    chains = find_chains(module, [Layer(hidden.name, hidden.layer) for hidden in found])
    if layers is None or callable(layers) or has_pick(layers):
        found = [i for i in found if not i.fixed and (critics or not i.critic)]
    by_name = {hidden.name: hidden for hidden in found}
    pool = [Layer(hidden.name, hidden.layer) for hidden in found]
    picked = [removable(by_name[layer.name]) for layer in select(pool, layers, chains)]
    for one in found:
        together = [i for i in picked if i.group == one.group]
        if together and one not in picked:
            raise ValueError(
                f"layers: expected {one.name!r} too, which has to stay as wide as "
                f"{together[0].name!r}, got only the latter"
            )
    return picked


def _fold(hidden: NeuronLayer, gone: Tensor, means: Tensor | None) -> None:
    """Add what the neurons `gone` (indices) give, where that is constant, to the biases."""
    constant = _constant(hidden)
    own = hidden.layer._parameters["bias"]
    start = hidden.layer.weight.new_zeros(hidden.layer.out_features) if own is None else own
    for read in hidden.reads:
        bias = read.layer._parameters["bias"]
        if bias is None:
            continue
        value = torch.zeros_like(start) if means is None else means.to(start)
        value = torch.where(constant, read.activation(start), value)
        index = gone.to(bias.device)
        added = read.layer.weight[:, index].double() @ value[index].double()
        bias.copy_(bias.double() + added)
