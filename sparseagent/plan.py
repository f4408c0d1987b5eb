"""compile(): a SparsePolicy packed for this machine, and the Plan that runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from sparseagent import _core, tuning
from sparseagent.ops import LayerOp
from sparseagent.order import ORDERS
from sparseagent.policy import SparsePolicy
from sparseagent.program import Op
from sparseagent.sampling import Sample

ISA_VARIABLE = "SPARSEAGENT_ISA"
_LAYER_FACTS = ("shape", "activation", "alpha", "kind", "runs")


class Plan(_core.Plan):
    """A compiled policy. Made by `compile`; callable; safe from many threads and in forked workers.

    `act(obs)` runs the observation step and the network: float32 `[in]` or `[B, in]`, C-contiguous,
    to float32 `[out]` or `[B, out]`, before the action head. `act(obs, out)` writes into `out` and
    allocates nothing; give both by position, which is quicker. Neither converts: another dtype or
    layout raises `ValueError`, something that is no array `TypeError`. `out` may share memory with
    `obs` for one observation, and for a batch where it is `obs` itself, in = out; other overlaps
    raise `ValueError`.

    `act.predict(obs, deterministic=True)` is Stable-Baselines3's `PolicyPredictor`: observation
    step, network and action head; `[*shape]` or `[B, *shape]` of any common numeric type, copied
    where needed; returns `(actions, state)`. With `deterministic=False` it samples, where the head
    is a distribution: by `seed`, `step` and `rows` (the environments' numbers `[B]`, 0, 1, ... if
    none are given), of which every sample is a function, or unlike any other call where neither
    seed nor step is given. `Sampler` counts the steps. `action_masks` `[B, n]` says which actions
    are allowed, as in MaskablePPO. `sample` also gives log-probability and value.

    Of a recurrent policy the state is an opaque object that the next call takes; None stands for
    zeros, and `episode_start`, a boolean or `[B]` of them, for zeros in those rows. The state given
    is left as it is. `act.initial_state(batch)` makes one of zeros; `np.asarray` shows one as
    `[B, features]`, and such an array is taken as well. `act.step(obs, state, episode_start)` gives
    all outputs and the next state; `act(obs)` refuses recurrent policies.

    `act.prefetch()` shortly before a call makes a loop that slept faster: after a sleep weights,
    code and workspace are in no cache, and `act(obs, out)` takes several times as long. It makes
    two calls on arrays of its own, so it takes as long as those, and changes no output. Sleep until
    some 100 us before the observation comes, prefetch, read it, act: what runs in between evicts
    again. It warms the calling thread's core; its first call in a thread may allocate.

    The same observation gives the same bits whatever the batch, thread count, format or ISA.
    `act.time(obs, calls)` gives the time of each C++ forward in ns, float64 `[calls]`.

    Calls of more than about 50 us let other Python threads run; long ones, `time` and `compile` end
    within some 0.2 s when a signal's handler raises (Ctrl-C), and `out` is then partly written. A
    call that finds no memory raises `MemoryError`.

    Attributes:
        policy: the policy that was compiled.
    """

    policy: SparsePolicy

    def sample(
        self,
        observation: Any,
        *,
        deterministic: bool = False,
        action_masks: Any = None,
        seed: int | None = None,
        step: int | None = None,
        rows: Any = None,
        state: Any = None,
        episode_start: Any = None,
    ) -> Sample:
        """Action, log-probability and value in one call: what a learner keeps of a step.

        Args:
            observation: as for `predict`.
            deterministic: whether the mode is taken, with its log-probability.
            action_masks: which actions are allowed, `[B, n]`; for categorical heads.
            seed: 0 to 2^64 - 1, with `step`; neither for numbers unlike any other call's.
            step: 0 to 2^64 - 1.
            rows: numbers of the environments `[B]`, 0 to 2^32 - 1; None for 0, 1, ...
            state: as for `predict`.
            episode_start: as for `predict`.

        Raises:
            ValueError: the head knows no distribution or takes no masks, a shape or number is
                wrong, or one of seed and step is missing.
            TypeError: an argument is of another type.
        """
        drawn = (deterministic, action_masks, seed, step, rows)
        return Sample(*self._sample(observation, state, episode_start, *drawn))

    def update(self, policy: SparsePolicy) -> None:
        """Take over new weights under the same masks, in place and without choosing anew.

        `policy.with_values` makes such a policy quickly; `from_sb3(model, masks=sparsifier)` keeps
        the structure that the masks say, even where a weight has become 0. The first update finds
        out where the weights lie, later ones put them there. A head's `log_std`, `std` or `epsilon`
        may differ as well. Not while another thread is calling this plan.

        Raises:
            ValueError: the structure or activation of a layer, the observation step or the head
                differs; the plan is then as it was.
            TypeError: `policy` is not a `SparsePolicy`.
        """
        _expect("policy", policy, SparsePolicy, "a SparsePolicy")
        if not _same_but_for_layers(policy, self.policy):
            raise ValueError("policy: expected the observation step and head of the compiled one")
        self._update([layer.core_argument() for layer in policy.layers], policy.head.numbers())
        self.policy = policy

    @property
    def tuning(self) -> dict[str, Any]:
        """What was chosen, JSON-able, for `compile(policy, tune=...)`: no timing is needed then.

        `isa`, `cpu` (its name, for the reader), `layers` (shapes and weights) and `regimes`: for
        one observation, few and each width of tiles the ns of the whole network and the format
        of every layer. It holds for any policy whose layers have the same sizes.
        """
        return tuning.describe(self.policy, self.isa, self._costs, self._choices)

    def __reduce__(self) -> tuple[Any, ...]:
        """Compiled again from the policy, by the tuning of this plan where it fits the machine.

        So a plan goes into the workers of SubprocVecEnv, AsyncVectorEnv or Ray, and copies.
        """
        return _compiled_again, (self.policy, self.threads, self.tuning)

    def __repr__(self) -> str:
        return f"<Plan of {self.policy!r} on {self.isa}, threads {self.threads}>"

    def explain(self) -> str:
        """What was chosen for each layer and path, and why: time of every candidate."""
        lines = [
            f"{self.policy.input_size} inputs, {self.policy.output_size} outputs, "
            f"{self.policy.nnz} weights, sparsity {self.policy.sparsity:.4f}, "
            f"order {self.policy.order}; isa {self.isa}, threads {self.threads}",
            *([self.policy.trained] if self.policy.trained else []),
            f"{'layer':<6}{'shape':>12}{'sparsity':>10}  {'regime':<10}{'format':<8}candidates",
        ]
        for number, regime, chosen, candidates in self._choices:
            layer = self.policy.layers[number]
            tried = ", ".join(
                f"{name} {'not timed' if ns is None else f'{ns:.0f} ns'} ({size / 1024:.1f} kB)"
                for name, ns, size in candidates
            )
            shape = f"{layer.shape[1]}-{layer.shape[0]}"
            lines.append(
                f"{number:<6}{shape:>12}{layer.sparsity:>10.4f}  {regime:<10}{chosen:<8}{tried}"
            )
        timed = any(ns is not None for *_, tried in self._choices for _, ns, _ in tried)
        costs = ", ".join(f"{name} {ns:.0f} ns" for name, (_, ns) in self._costs.items())
        lines.append(f"whole network: {costs}" if timed else "whole network: not timed (tune=0)")
        if self.isa in ORDERS and self.policy.order != self.isa:
            lines.append(
                f"order {self.policy.order} was not made for {self.isa}: "
                f"policy.repack({self.isa!r}) may be faster for one observation"
            )
        return "\n".join(lines)


def compile(
    policy: SparsePolicy,
    *,
    threads: int = 1,
    isa: str | None = None,
    format: str = "auto",
    tune: float | tuning.Saved = 30.0,
) -> Plan:
    """Pack `policy` for this machine; every choice is one of speed, none changes a bit.

    Memory stays in proportion to the policy, see `load`: candidates that would pad a nearly empty
    layer with more than 128 bytes for each weight are left out, and programs that need more than
    8192 floats for one observation take fewer of them side by side. A `format` that is forced is
    packed whatever it takes, and every further thread has a workspace of its own.

    Args:
        policy: what to run.
        threads: threads that share one call where that pays: the observations of a batch, from two
            tiles on, or the rows of large layers for one observation. They start on first use, no
            more than the CPUs the process may use, and rest where sharing has lost time of late, as
            beside a busy process. 1 never starts any.
        isa: instruction set, see `kernels()`; None takes `SPARSEAGENT_ISA`, or else the widest that
            this machine runs.
        format: `"auto"` lets every layer and batch regime have its fastest format; a name forces
            one. `compile(policy.repack("ascending"), format="dense")` is the dense baseline.
        tune: time in ms by the clock to spend on timing candidates, besides packing them; a rule
            of thumb decides what it is too short for, with 0 everything. Or what `Plan.tuning` gave
            before, or the path of a JSON file of it, which is followed.

    Raises:
        ValueError: an unknown or unsupported `isa` or `format`, or a number out of range; a
            saved tuning that does not fit the policy or the ISA, or that comes with a `format`.
        TypeError: an argument is of another type; `policy` is not a `SparsePolicy`.
        OSError: the file that `tune` names cannot be read.
    """
    _expect("policy", policy, SparsePolicy, "a SparsePolicy")
    _expect("threads", threads, Integral, "an int")
    _expect("isa", isa, str | None, "a str or None")
    _expect("format", format, str, "a str")
    _expect("tune", tune, Real | Mapping | str | Path, "ms, a saved tuning or the path of one")
    if not 1 <= threads <= _core.MAX_THREADS:
        raise ValueError(f"threads: expected 1 to {_core.MAX_THREADS}, got {threads}")
    isa = os.environ.get(ISA_VARIABLE, "") if isa is None else isa
    formats: list[list[str]] = []
    ns: list[float] = []
    budget = 0.0
    if isinstance(tune, Mapping | str | Path):
        if format != "auto":
            raise ValueError(f"format: expected auto with a saved tuning, got {format!r}")
        formats, ns = tuning.read(tune, policy, isa or _widest_isa())
    else:
        budget = tune
    plan = Plan(
        replace(policy, golden=None, metadata={}).to_bytes(),
        isa,
        "" if format == "auto" else format,
        threads,
        budget,
        formats,
        ns,
    )
    plan.policy = policy
    return plan


def _compiled_again(policy: SparsePolicy, threads: int, saved: Mapping[str, Any]) -> Plan:
    """A plan in another process, maybe on another machine, where it is tuned anew."""
    known = [info.name for info in kernels() if info.available]
    if saved["isa"] in known and saved["cpu"] == tuning.cpu_name():
        return compile(policy, threads=threads, isa=saved["isa"], tune=saved)
    return compile(policy, threads=threads)


@dataclass(frozen=True)
class IsaInfo:
    """One instruction set that this build has kernels for."""

    name: str
    available: bool
    needs: str
    formats: tuple[str, ...]
    lanes: int


def kernels() -> tuple[IsaInfo, ...]:
    """The instruction sets of this build, plainest first, and whether this machine runs them."""
    return tuple(
        IsaInfo(name, available, needs, tuple(formats), lanes)
        for name, (available, needs, formats, lanes) in _core.isas().items()
    )


def _expect(name: str, given: object, kind: Any, words: str) -> None:
    if not isinstance(given, kind):
        raise TypeError(f"{name}: expected {words}, got {type(given).__name__}")


def _widest_isa() -> str:
    return [info.name for info in kernels() if info.available][-1]


def _same_but_for_layers(a: SparsePolicy, b: SparsePolicy) -> bool:
    """Whether the head, the ops that are no layers, and the spans are those of the other policy.

    Where the layers are others altogether, which the core says better, spans are not compared.
    """
    one, other = a.program, b.program
    if not a.head.resembles(b.head):
        return False
    rest = [[op for op in p.ops if not isinstance(op, LayerOp)] for p in (one, other)]
    if len(rest[0]) != len(rest[1]):
        return False
    if not all(x is y or _facts(x) == _facts(y) for x, y in zip(*rest, strict=True)):
        return False
    if [layer.shape for layer in a.layers] != [layer.shape for layer in b.layers]:
        return True
    spans = [[(op.kind, op.reads, op.writes, _shape(op)) for op in p.ops] for p in (one, other)]
    return spans[0] == spans[1] and (one.outputs, one.states) == (other.outputs, other.states)


def _shape(op: Op) -> Any:
    """What an op with a layer holds besides it: a window, a rule."""
    own = op.attributes() if isinstance(op, LayerOp) else {}
    return {name: value for name, value in own.items() if name not in _LAYER_FACTS}


def _facts(op: Op) -> Any:
    """What an op holds, to be compared."""
    arrays = {name: array.tobytes() for name, array in op.tensors().items()}
    return op.kind, op.attributes(), arrays
