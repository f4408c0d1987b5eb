"""From an ONNX file to a SparsePolicy: rsl_rl, Isaac Lab, mjlab, godot_rl and others write them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseagent.convert.assemble import assemble, versions
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.features import BATCH, Features, Spread
from sparseagent.convert.masks import read_masks
from sparseagent.convert.onnx_constants import CONSTANTS
from sparseagent.convert.onnx_file import Graph, Node, Port, read_graph
from sparseagent.convert.onnx_rules import MOST_NUMBERS, RULES, At
from sparseagent.head import Head, Raw
from sparseagent.ops import Observation
from sparseagent.ops.observe import DTYPES
from sparseagent.policy import SparsePolicy
from sparseagent.policyfile import Observations
from sparseagent.unsupported import UnsupportedError

#: Features that all nodes give together.
_MOST_FEATURES = 1 << 20
#: Bytes of matrices that every file may use; a larger one as many times as it is large.
_FLOOR = 64 << 20
_MOST_USES = 2


def from_onnx(
    path: str | Path | bytes,
    *,
    observation: Observation | Mapping[str, Observation] | None = None,
    outputs: Sequence[str] | None = None,
    head: Head | None = None,
    metadata: Mapping[str, Any] | None = None,
    order: str | None = None,
    masks: Any = None,
) -> SparsePolicy:
    """Convert a network that an ONNX file holds, normaliser and all.

    Known are Gemm, MatMul, arithmetic with constants, Clip, the activations of `ACTIVATIONS`,
    LayerNormalization, RMSNormalization, BatchNormalization, Softmax, means, and what only moves
    features (Concat, Slice, Split, Reshape, Gather ...). A normaliser at the input becomes the
    observation step. Nothing of the file is run, and no other file is opened. Hidden neurons that
    cannot influence the output are removed. ONNX's own reference implementation and the policy are
    then compared on the observations of the self-test; `metadata["source_distance"]` is the largest
    difference.

    Args:
        path: the file, or its content. Axis 0 of inputs and outputs is the batch.
        observation: the step before an input, by default the numbers as they come, in the input's
            shape and type; several by the inputs' names.
        outputs: which outputs the policy has, the action's first; by default all.
        head: the step after the first output; by default it is the action.
        metadata: JSON-able facts to add, such as `environment`.
        order: the order in which rows are summed, see `SparsePolicy.repack`; None for the one that
            the widest instruction set of this machine runs fastest.
        masks: bool masks `[out, in]` by the name of the weight's initializer, see `from_torch`.

    Returns:
        The policy, with a self-test of eight observations. With several inputs it takes a Dict
        observation of their names.

    Raises:
        ModuleNotFoundError: the package `onnx` is missing (`pip install 'sparseagent[onnx]'`).
        TypeError: a node that no op stands for, by name; a `ValueError` at the same time.
        ValueError: a file that is damaged, unsafe, in several parts, or larger when walked than its
            size justifies; parts that do not fit; a policy that differs from its source.
        FileNotFoundError: no such file.
    """
    graph = read_graph(path)
    steps = steps_of(graph, observation)
    arrays = read_masks(masks)
    builder = Builder(arrays)
    batch = batch_of(graph)
    found = _outputs(walk(graph, builder, steps, batch), graph, outputs)
    # A sole output is the action.
    names = ["action"] if len(found) == 1 else list(found)
    content = path if isinstance(path, bytes) else Path(path).read_bytes()
    facts = {
        "source": "onnx",
        "producer": graph.producer,
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "versions": versions("onnx"),
    }

    def source(observations: Observations) -> dict[str, NDArray[Any]] | None:
        arrays = _evaluated(graph, steps, observations, list(found), batch)
        return None if arrays is None else dict(zip(names, arrays, strict=True))

    return assemble(
        builder,
        dict(zip(names, found.values(), strict=True)),
        Raw() if head is None else head,
        facts=facts,
        metadata=metadata,
        order=order,
        source=source,
    )


Steps = Mapping[str, tuple[Port, Observation]]


def steps_of(graph: Graph, given: Any) -> dict[str, tuple[Port, Observation]]:
    """The observation steps and ports by the names of the program's inputs."""
    if not graph.inputs:
        raise ValueError("graph: expected at least one input, got none")
    if isinstance(given, Observation) and len(graph.inputs) > 1:
        names = ", ".join(port.name for port in graph.inputs)
        raise ValueError(f"observation: expected steps by name for {names:.200}, got one step")
    steps: dict[str, tuple[Port, Observation]] = {}
    for port in graph.inputs:
        step = given.get(port.name) if isinstance(given, Mapping) else given
        if step is None:
            row = port.shape[1:]
            if None in row or port.dtype not in DTYPES or not port.shape:
                raise UnsupportedError(
                    f"input {port.name:.80}: expected numbers of one of {', '.join(DTYPES)} and "
                    f"sizes behind the batch, got {port.dtype} {list(port.shape)}"
                )
            step = Observation(tuple(int(n or 0) for n in row) or (1,), port.dtype)
        if not isinstance(step, Observation):
            raise TypeError(f"observation: expected an instance of Observation, got {step!r}")
        name = port.name if len(graph.inputs) > 1 else "observation"
        steps[name] = (port, step)
    return steps


def batch_of(graph: Graph) -> int:
    """The batch that the graph was written for; `BATCH` if for any."""
    sizes = {port.shape[0] for port in graph.inputs if port.shape}
    if len(sizes) > 1:
        raise ValueError(f"inputs: expected one batch for all, got {sorted(map(str, sizes))}")
    size = sizes.pop() if sizes else None
    return size or BATCH


def walk(graph: Graph, builder: Builder, steps: Steps, batch: int) -> dict[str, Any]:
    """All values of the graph by name: `Features` and constants."""
    values: dict[str, Any] = dict(graph.constants)
    for name, (port, step) in steps.items():
        shape = tuple(int(n) for n in port.shape[1:] if n is not None)
        if len(shape) != len(port.shape) - 1 or int(np.prod(shape)) != step.size:
            shape = (step.size,)
        values[port.name] = Features(builder, builder.observe(step, name), shape, batch)
    budget = _Budget(graph)
    for node in graph.nodes:
        results = _computed(node, graph.opset, values)
        for name, result in zip(node.outputs, results, strict=False):
            if name in values:
                raise ValueError(f"{node.name}: expected a name that is new, got {name:.80}")
            if name:
                values[name] = result
        budget.spend(node, results)
    return values


class _Budget:
    """What a file's size justifies: numbers in constants, features, matrices used again."""

    def __init__(self, graph: Graph) -> None:
        self._features = _MOST_FEATURES
        self._numbers = max(MOST_NUMBERS, graph.size)
        self._matrices = _FLOOR + _MOST_USES * graph.size
        self._sizes = {name: array.nbytes for name, array in graph.constants.items()}

    def spend(self, node: Node, results: Sequence[Any]) -> None:
        """Raise ValueError once too much has been made."""
        computed = [result for result in results if isinstance(result, Features)]
        self._features -= sum(result.value.size for result in computed)
        self._numbers -= sum(part.size for part in results if isinstance(part, np.ndarray))
        self._matrices -= sum(self._sizes.get(name, 0) for name in node.inputs)
        for name, result in zip(node.outputs, results, strict=False):
            if isinstance(result, np.ndarray):
                self._sizes[name] = result.nbytes
        if min(self._features, self._numbers, self._matrices) < 0:
            raise ValueError(
                f"{node.name}: expected a graph that makes at most {_MOST_FEATURES:,} features and "
                f"uses its numbers a few times, got more"
            )


def _computed(node: Node, opset: int, values: Mapping[str, Any]) -> list[Any]:
    """What a node gives, by its rule."""
    for name in node.inputs:
        if name and name not in values:
            raise ValueError(
                f"{node.name}: expected inputs that nodes before it give, got {name:.80}"
            )
    inputs = [values[name] if name else None for name in node.inputs]
    if node.kind != "Div" and any(isinstance(part, Spread) for part in inputs):
        raise UnsupportedError(f"{node.name}: expected a square root to divide its own row")
    table = RULES if any(isinstance(part, Features) for part in inputs) else CONSTANTS
    rule = table.get(node.kind)
    if rule is None:
        known = ", ".join(sorted(RULES))
        hint = _HINTS.get(node.kind, f"expected {known}")
        raise UnsupportedError(f"{node.name}: not representable as ops; {hint}")
    try:
        result = rule(At(node, opset), *inputs)
    except UnsupportedError as error:
        raise UnsupportedError(f"{node.name}: {error}") from error
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{node.name}: {error}") from error
    return list(result) if isinstance(result, list | tuple) else [result]


#: What to do about nodes that exporters write for something that is known.
_HINTS = {
    "Erf": "if it stands for GELU, export with opset 20 or newer, which has Gelu",
    "If": "expected a graph without branches",
    "Loop": "expected a graph without loops",
}


def _outputs(
    values: Mapping[str, Any], graph: Graph, names: Sequence[str] | None
) -> dict[str, Value]:
    """The chosen outputs by name."""
    known = [port.name for port in graph.outputs]
    chosen = known if names is None else list(names)
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f"outputs: expected some of {known!s:.200}, got {chosen!s:.200}")
    for name in chosen:
        if not isinstance(values.get(name), Features):
            raise ValueError(f"output {name:.80}: expected one that observations decide")
    return {name: values[name].value for name in chosen}


def _evaluated(
    graph: Graph, steps: Steps, observations: Observations, wanted: list[str], batch: int
) -> list[NDArray[Any]] | None:
    """What ONNX's reference implementation gives; None for a node that it cannot run."""
    from onnx.reference import ReferenceEvaluator

    feeds, count = {}, 0
    for name, (port, step) in steps.items():
        array = observations[name] if isinstance(observations, Mapping) else observations
        plain = step.is_identity and np.asarray(array).dtype == port.dtype
        rows = np.asarray(array) if plain else step.apply(array)
        shape = [n for n in port.shape[1:] if n is not None]
        fits = len(shape) == len(port.shape) - 1
        count = len(rows)
        feeds[port.name] = rows.reshape(count, *(shape if fits else [step.size])).astype(port.dtype)
    size = count if batch == BATCH else batch
    if count % size and size != 1:
        return None
    try:
        evaluator = ReferenceEvaluator(graph.proto)
        parts = [
            evaluator.run(wanted, {name: x[start : start + size] for name, x in feeds.items()})
            for start in range(0, count, size)
        ]
    except Exception:  # it names no error of its own
        return None
    return [np.concatenate(given) for given in zip(*parts, strict=True)]
