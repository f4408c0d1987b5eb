"""SparsePolicy: the deployable artifact. Plain NumPy, immutable, validated on construction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparseagent import fields, policyfile
from sparseagent.csr import Float32
from sparseagent.head import Head, Raw
from sparseagent.input_use import input_use
from sparseagent.ops import Layer, LayerOp, Observation, Observe
from sparseagent.order import check_order, reorder
from sparseagent.policyfile import MAX_GOLDEN, MAX_GOLDEN_WORK, Contents, Golden, PolicyFileError
from sparseagent.program import Program
from sparseagent.reference import by_name, forward_exact


@dataclass(frozen=True, eq=False)
class SparsePolicy:
    """A program and its action head: everything needed to act, and nothing of torch.

    Attributes:
        program: from the observations to the outputs; `chain` makes that of a feed-forward net.
        head: from the first output to the action.
        metadata: facts that JSON gives back as they were: environment id, library versions, return.
        order: which packer laid down the summation order (`repack`), one of `ORDERS`.
        golden: the self-test that `load` runs, or None.

    Raises:
        TypeError: a part is something else, or JSON does not give the metadata back as they were.
        ValueError: the parts do not fit together; the message names the part.
    """

    program: Program
    head: Head = field(default_factory=Raw)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    order: str = "ascending"
    golden: Golden | None = None

    def __post_init__(self) -> None:
        parts: list[tuple[str, object, type]] = [
            ("program", self.program, Program),
            ("head", self.head, Head),
            ("metadata", self.metadata, Mapping),
        ]
        for name, given, kind in parts:
            if not isinstance(given, kind):
                raise TypeError(f"{name}: expected an instance of {kind.__name__}, got {given!r}")
        for key, fact in self.metadata.items():
            if not _json_holds({key: fact}):
                raise TypeError(
                    f"metadata: {key}: expected what JSON gives back as it was (no tuple, NaN or "
                    f"key that is not a string), got {fact!r}"
                )
        check_order(self.order)
        self.head.check({name: span.size for name, span in self.program.outputs.items()})

    def __repr__(self) -> str:
        return (
            f"<SparsePolicy {self.input_size} inputs, {self.output_size} outputs, "
            f"{self.nnz} weights, sparsity {self.sparsity:.4f}, {self.head.kind}, "
            f"order {self.order}>"
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the program, in the order in which they run."""
        return tuple(op.layer for op in self.program.ops if isinstance(op, LayerOp))

    @property
    def inputs(self) -> Mapping[str, Observation]:
        """The observation steps by the names of the inputs."""
        return {op.input: op.step for op in self.program.ops if isinstance(op, Observe)}

    @property
    def observation(self) -> Observation:
        """The step of the only input.

        Raises:
            ValueError: the observation is a Dict; see `inputs`.
        """
        steps = self.inputs
        if len(steps) != 1:
            raise ValueError(f"observation: expected one input, got {', '.join(steps)}")
        return next(iter(steps.values()))

    @property
    def input_size(self) -> int:
        """Number of features of an observation, read or not."""
        return sum(step.width for step in self.inputs.values())

    @property
    def unused_inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Features that no weight reads, by the name of their input: sensors to leave out.

        Places are those of the flat observation, or of its one-hot rows; whatever stands there, the
        action is the same. `input_use` says how much the others are used.
        """
        return {name: use.unused for name, use in input_use(self.program).items()}

    @property
    def trained(self) -> str:
        """What the network was before dead units and unread inputs went and parts were folded.

        Conversion notes it; empty where the metadata do not say, or where nothing went.
        """
        shapes, sparsities = (self.metadata.get(name) for name in ("source_shapes", "sparsity"))
        try:
            weights = [int(out) * int(width) for out, width in shapes]  # type: ignore[union-attr]
            kept = sum(
                round(count * (1.0 - part))
                for count, part in zip(weights, sparsities, strict=True)  # type: ignore[arg-type]
            )
            share = 1.0 - kept / sum(weights)
        except (ArithmeticError, TypeError, ValueError):  # noted by somebody else
            return ""
        if (kept, sum(weights)) == (self.nnz, sum(math.prod(la.shape) for la in self.layers)):
            return ""
        return f"trained: {kept} of {sum(weights)} weights, sparsity {share:.4f}"

    @property
    def output_size(self) -> int:
        """Number of outputs that the action is made of."""
        return next(iter(self.program.outputs.values())).size

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action; `()` for a discrete one."""
        return self.head.action_of(self.output_size)[1]

    @property
    def nnz(self) -> int:
        """Number of weights, biases not counted."""
        return sum(layer.nnz for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Fraction of the weights of all layers that are absent, in [0, 1]."""
        return 1.0 - self.nnz / sum(math.prod(layer.shape) for layer in self.layers)

    def repack(self, order: str) -> SparsePolicy:
        """The same policy with another summation order; the only thing that changes bits.

        Every machine runs every order with the same bits; it is fastest on the one made for it.

        Args:
            order: `"ascending"`, one run per row and ascending columns, which every format can
                follow; or the instruction set to lay it out for: `"avx512"`, `"avx2"`, `"neon"`.
                Those also change the places of hidden units. Layers that keep more than 41 % of
                their weights (35 % for `"avx2"` and `"neon"`) or take more inputs than the kernel
                that looks them up can (4096, 2048 and 1024) stay ascending, where dense kernels
                are candidates too; rows that are few and long are packed at any density.

        Raises:
            ValueError: an unknown order.
        """
        program = reorder(self.program, order)
        packed = replace(self, program=program, order=order, golden=None)
        return packed if self.golden is None else packed.with_golden(self.golden.observations)

    def with_values(self, values: Sequence[Float32], biases: Sequence[Float32]) -> SparsePolicy:
        """The policy with other numbers under the same masks, for `Plan.update`.

        The structure is shared and not checked again. The self-test is dropped: it was made
        with the old numbers.

        Args:
            values: one array for each layer, float32 `[nnz]` in its stored order, or `[out, in]`
                for a dense layer.
            biases: one array for each layer, float32 `[out]`.

        Raises:
            ValueError: another number of layers, another shape, or a number is not finite.
        """
        count = len(self.layers)
        for name, given in (("values", values), ("biases", biases)):
            if len(given) != count:
                raise ValueError(f"{name}: expected {count} arrays, got {len(given)}")
        numbers = iter(zip(values, biases, strict=True))
        ops = tuple(
            replace(op, layer=op.layer.with_values(*next(numbers)))
            if isinstance(op, LayerOp)
            else op
            for op in self.program.ops
        )
        program = object.__new__(Program)  # the spans were checked when this one was made
        for name, part in (*vars(self.program).items(), ("ops", ops)):
            object.__setattr__(program, name, part)
        return replace(self, program=program, golden=None)

    def with_golden(self, observations: Any) -> SparsePolicy:
        """The policy with a self-test: what it gives for `observations`, `[n, *shape]`.

        They are cast to the observation's dtype, which is what the environment will hand in. Where
        there are several inputs, a mapping by their names.

        Args:
            observations: `[n, *shape]`, n from 1 to `MAX_GOLDEN`: every load of the file runs them
                all, one slow scalar sum after the other.

        Raises:
            ValueError: another shape, or too many.
        """
        batches = {}
        for name, given in by_name(self.program, observations).items():
            step = self.inputs[name]
            batch = np.array(given, step.dtype, order="C")
            if batch.shape[1:] != step.shape or not len(batch):
                raise ValueError(
                    f"observations: expected [n, {', '.join(map(str, step.shape))}], "
                    f"got shape {batch.shape}"
                )
            if len(batch) > MAX_GOLDEN:
                raise ValueError(
                    f"golden: expected 1 to {MAX_GOLDEN} observations, got {len(batch)}"
                )
            if len(batch) * self.program.work > MAX_GOLDEN_WORK:
                raise ValueError(
                    f"golden: expected at most {MAX_GOLDEN_WORK // self.program.work} observations "
                    f"for convolutions of this size, got {len(batch)}"
                )
            batches[name] = batch
        outputs = forward_exact(self.program, batches)
        single = next(iter(batches.values())) if len(batches) == 1 else batches
        return replace(self, golden=Golden(single, outputs, self.head.apply(outputs)))

    def with_metadata(self, **facts: Any) -> SparsePolicy:
        """The policy with `facts` added to its metadata."""
        return replace(self, metadata={**self.metadata, **facts})

    def to_bytes(self) -> bytes:
        """The content of its file; `load` takes it too."""
        contents = Contents(self.program, self.head, self.metadata, self.order, self.golden)
        return policyfile.to_bytes(contents)

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file; see `sparseagent.policyfile` for its layout."""
        policyfile.write(self.to_bytes(), path)

    def summary(self) -> str:
        """A table of the layers: shape, weights kept, sparsity, activation; and unused inputs."""
        lines = [f"{'layer':<7}{'shape':>12}{'weights':>10}{'sparsity':>10}  activation"]
        for number, layer in enumerate(self.layers):
            out, width = layer.shape
            lines.append(
                f"{number:<7}{f'{width}-{out}':>12}{layer.nnz:>10}{layer.sparsity:>10.4f}"
                f"  {layer.activation}"
            )
        lines.append(f"{'all':<7}{'':>12}{self.nnz:>10}{self.sparsity:>10.4f}  -> {self.head.kind}")
        if trained := self.trained:
            lines.append(trained)
        if unused := sum(map(len, self.unused_inputs.values())):
            lines.append(f"{unused} of {self.input_size} inputs are not used")
        return "\n".join(lines)


def load(source: str | Path | bytes | BinaryIO) -> SparsePolicy:
    """Read a policy file, check all of it, and run its self-test.

    What that costs is bounded by the file's size, whoever wrote it: loading, compiling and the
    first call take at most 64 MiB and 128 bytes for each byte of the file, and time in proportion.
    A self-test has at most 256 observations.

    Args:
        source: the file's path, its content, or a file opened for reading bytes.

    Raises:
        ValueError: the file is truncated, altered, newer than this version or not a policy file,
            or this machine does not reproduce its golden outputs bit for bit.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_contents(policyfile.from_bytes(bytes(source)))
    if not isinstance(source, str | Path):
        return _from_contents(policyfile.from_bytes(source.read()))
    data = Path(source).read_bytes()
    try:
        return _from_contents(policyfile.from_bytes(data))
    except PolicyFileError as error:
        raise PolicyFileError(f"{source}: {error}") from error.__cause__


def _from_contents(contents: Contents) -> SparsePolicy:
    try:
        policy = SparsePolicy(**vars(contents))
        if policy.golden is not None:
            _self_test(policy, policy.golden)
    except PolicyFileError:
        raise
    except (TypeError, ValueError) as error:
        raise PolicyFileError(f"damaged policy: {error}") from error
    return policy


def _self_test(policy: SparsePolicy, golden: Golden) -> None:
    if len(golden.outputs) * policy.program.work > MAX_GOLDEN_WORK:
        raise PolicyFileError("golden: too many observations for a program of so many windows")
    outputs = forward_exact(policy.program, golden.observations)
    if outputs.tobytes() != golden.outputs.tobytes():
        raise PolicyFileError(
            "self-test: this machine does not reproduce the golden outputs bit for bit"
        )
    if not np.array_equal(policy.head.apply(outputs), golden.actions, equal_nan=True):
        raise PolicyFileError("self-test: the head does not give the golden actions")


def _json_holds(content: Mapping[str, Any]) -> bool:
    """Whether a file would give `content` back as it is, say no tuple as a list."""
    spec = {"metadata": content}  # lists nest in a file as deep as this
    try:
        return bool(fields.parse(json.dumps(spec, allow_nan=False)) == spec)
    except (RecursionError, TypeError, ValueError):
        return False
