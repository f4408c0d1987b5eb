"""What each hidden neuron contributes, as table and plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sparseagent.prune.activity import Activity
from sparseagent.prune.neuron_layers import find_neurons
from sparseagent.prune.neurons import record


@dataclass(frozen=True)
class NeuronRow:
    """One neuron.

    Attributes:
        layer: Name of the weight that makes it.
        neuron: Its row in that weight.
        norm: Euclidean norm of its incoming weights.
        incoming: How many of them are not zero.
        outgoing: How many weights that read it are not zero.
        p: Output probability in [0, 1]: mean absolute activation over the largest of the layer.
        share: lambda, p over the sum of the layer.
    """

    layer: str
    neuron: int
    norm: float
    incoming: int
    outgoing: int
    p: float
    share: float


@dataclass(frozen=True)
class LayerContributions:
    """One layer of hidden neurons.

    Attributes:
        name: Name of the weight that makes them.
        neurons: The neurons, in their order.
        entropy: -sum lambda log lambda, in nats.
        relative_entropy: The entropy over log n, in [0, 1]. Near 1 all neurons contribute alike;
            far below it a few do the work, and the others can go.
    """

    name: str
    neurons: tuple[NeuronRow, ...]
    entropy: float
    relative_entropy: float


@dataclass(frozen=True)
class Contributions:
    """What each hidden neuron of a network contributes; `str` gives the table.

    Attributes:
        layers: The layers, in the order of the computation.
    """

    layers: tuple[LayerContributions, ...]

    def __str__(self) -> str:
        return self.table()

    def table(self, most: int | None = None) -> str:
        """A text table, for each layer with the neurons that contribute the least first.

        Args:
            most: Neurons to show of each layer; `None` for all.
        """
        lines = []
        for layer in self.layers:
            lines.append(
                f"{layer.name}: {len(layer.neurons)} neurons, entropy {layer.entropy:.3f} "
                f"({layer.relative_entropy:.0%} of the largest)"
            )
            lines.append("neuron      norm  incoming  outgoing       p  lambda")
            ranked = sorted(layer.neurons, key=lambda row: (row.share, row.norm, row.neuron))
            lines += [
                f"{row.neuron:6d}  {row.norm:8.4f}  {row.incoming:8d}  {row.outgoing:8d}  "
                f"{row.p:6.4f}  {row.share:6.4f}"
                for row in ranked[:most]
            ]
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw lambda against the weight norm, one panel a layer; needs matplotlib.

        Neurons in the lower left corner contribute little and cost little to remove.

        Args:
            path: File to write, such as `"contributions.png"`; `None` to write none.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.0 * len(self.layers), 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(self.layers), squeeze=False)[0]
        for panel, layer in zip(panels, self.layers, strict=True):
            connected = [row for row in layer.neurons if row.incoming and row.outgoing]
            cut_off = [row for row in layer.neurons if not (row.incoming and row.outgoing)]
            for rows, marker, label in ((connected, "o", "connected"), (cut_off, "x", "cut off")):
                if rows:
                    norms, shares = [row.norm for row in rows], [row.share for row in rows]
                    panel.scatter(norms, shares, marker=marker, label=label)
            panel.axhline(1.0 / len(layer.neurons), color="grey", linewidth=0.8, linestyle="--")
            panel.set_title(f"{layer.name}\nentropy {layer.relative_entropy:.0%} of the largest")
            panel.set_xlabel("norm of incoming weights")
            panel.set_ylabel("share of the activity (lambda)")
            panel.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def contributions(module: nn.Module, batch: Any) -> Contributions:
    """Measure what each hidden neuron contributes, for deciding what to remove and for debugging.

    Args:
        module: A network, or a policy of Stable-Baselines3.
        batch: Inputs `[N, ...]`, see `neurons.record`.

    Raises:
        TypeError: The batch is of the wrong type.
        ValueError: The module cannot be traced, or has no hidden neurons that only layers read.
    """
    hidden = [one for one in find_neurons(module) if one.reads]
    if not hidden:
        raise ValueError(
            f"module: expected hidden neurons, got {type(module).__name__} without any"
        )
    recorded = record(module, hidden, batch)
    layers = []
    for one in hidden:
        weight = one.layer.weight.detach()
        activity = Activity.of(recorded[one.name])
        incoming = (weight != 0).sum(dim=1)
        outgoing = sum((read.layer.weight.detach() != 0).sum(dim=0) for read in one.reads)
        columns = (weight.norm(dim=1), incoming, outgoing, activity.p, activity.shares)
        values = zip(*(column.tolist() for column in columns), strict=True)  # type: ignore[union-attr]
        rows = tuple(NeuronRow(one.name, i, *row) for i, row in enumerate(values))
        layers.append(
            LayerContributions(one.name, rows, activity.entropy, activity.relative_entropy)
        )
    return Contributions(tuple(layers))
