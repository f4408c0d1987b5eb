"""CUDA devices: which there are, and plans that run on them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from sparseagent.policy import SparsePolicy, same_but_for_values
from sparseagent.sampling import Sample

NOT_BUILT = (
    "this build of sparseagent has no CUDA extension: it is built from source where nvcc is on PATH"
)


@dataclass(frozen=True)
class DeviceInfo:
    """One device that `compile(policy, device=...)` can name, or why there is none.

    Attributes:
        name: `"cpu"`, `"cuda:0"` and so on; `"cuda"` where there is none.
        available: whether plans run there.
        description: the device, or why it is not available.
    """

    name: str
    available: bool
    description: str


def devices() -> tuple[DeviceInfo, ...]:
    """The devices of this machine, the CPU first. Needs neither a GPU nor a driver."""
    found = [DeviceInfo("cpu", True, "every instruction set of kernels()")]
    try:
        gpus, reason = _extension().devices()
    except RuntimeError as error:
        gpus, reason = [], str(error)
    for number, gpu in enumerate(gpus):
        found.append(DeviceInfo(f"cuda:{number}", True, _described(gpu)))
    if not gpus:
        found.append(DeviceInfo("cuda", False, reason))
    return tuple(found)


class CudaPlan:
    """A policy on a CUDA device: one launch a call, over arrays that lie there.

    Made by `compile(policy, device="cuda")`. It has **never run on a GPU**: its kernels are tested
    as C++ and as what nvcc made of them, see docs/cuda.md.

    `plan(x)` runs the observation step and the network: float32 `[in]` or `[B, in]`, C-contiguous,
    to float32 `[out]` or `[B, out]`, before the action head. `plan(x, out)` writes into `out`: it
    allocates nothing, waits for nothing, and can be captured in a CUDA graph. Arrays are those of
    torch, CuPy, JAX, Warp or any library with DLPack or `__cuda_array_interface__`; the result is
    of the library of `x`. The bits are those of the CPU's plan, whatever the batch.

    A call runs on the stream that the library of `x` works on, where that says so (torch, CuPy), or
    on `stream`: CUDA's handle or a stream of a library. With a stream of one's own, the library may
    reuse the memory of `x` and `out` before the call is done with it: keep them, or tell it
    (`record_stream` in torch). Where no stream is known (JAX), the call waits until it is done.

    Attributes:
        policy: the policy that was compiled.
        device: where it runs, as `"cuda:0"`.

    Raises:
        ValueError: `device` names none, or the policy has an op without a CUDA kernel or needs more
            shared memory than the device has.
        RuntimeError: the device is not there; `devices()` says why.
    """

    policy: SparsePolicy
    device: str

    def __init__(self, policy: SparsePolicy, device: str) -> None:
        found = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
        if found is None:
            raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {device!r}")
        number = int(found[1] or 0)
        extension = _extension()
        gpus, reason = extension.devices()
        if number >= len(gpus):
            there = reason or f"there are {len(gpus)}"
            raise RuntimeError(f"device: expected one that is there, got {device!r}: {there}")
        self._gpu: dict[str, Any] = gpus[number]
        data = replace(policy, golden=None, metadata={}).to_bytes()
        self._plan = extension.Plan(data, number, _in_library, _stream_of)
        self.policy = policy
        self.device = f"cuda:{number}"

    def __call__(self, observations: Any, out: Any = None, stream: Any = None) -> Any:
        """Outputs before the head, see the class; None where `out` is given.

        Raises:
            ValueError: a shape, dtype, layout or device is another one; `out` overlaps.
            TypeError: no array on a device: NumPy's are for `compile(policy, device="cpu")`.
            RuntimeError: CUDA refused the launch; its own words follow.
        """
        return self._plan(observations, out, stream)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
        *,
        seed: int | None = None,
        step: int | None = None,
        rows: Any = None,
        stream: Any = None,
    ) -> tuple[Any, Any]:
        """Stable-Baselines3's `PolicyPredictor` over arrays of the device; the head is on it too.

        `[*shape]` or `[B, *shape]` of float32, float64, uint8, int8, int32, int64 or bool, or a
        dict of such by input; returns `(actions, state)`. It samples as the CPU's plan does, the
        same numbers for the same `seed`, `step` and `rows`; `rows` int32 or int64 `[B]` and
        `action_masks` bool `[B, n]` lie on the device as well.
        """
        actions, *_ = self._plan._act(
            observation, deterministic, action_masks, seed, step, rows, stream, False
        )
        return actions, state

    def sample(
        self,
        observation: Any,
        *,
        deterministic: bool = False,
        action_masks: Any = None,
        seed: int | None = None,
        step: int | None = None,
        rows: Any = None,
        stream: Any = None,
    ) -> Sample:
        """Action, log-probability, value and sample in one launch, as `Plan.sample` on the CPU."""
        return Sample(
            *self._plan._act(
                observation, deterministic, action_masks, seed, step, rows, stream, True
            )
        )

    def outputs(self, observation: Any, stream: Any = None) -> dict[str, Any]:
        """All outputs by name, before the head, for what `predict` takes."""
        found: dict[str, Any] = self._plan.outputs(observation, stream)
        return found

    def time(self, observations: Any, calls: int, stream: Any = None) -> NDArray[Any]:
        """The time of each of `calls` launches in ns, by the device's events, float64 `[calls]`."""
        times: NDArray[Any] = self._plan.time(observations, calls, stream)
        return times

    def update(self, policy: SparsePolicy, stream: Any = None) -> None:
        """Take over new weights under the same masks, where the old ones lie.

        What is given to `stream` later sees them, graphs that were captured before included; calls
        on other streams must be waited for. Not inside a capture.

        Raises:
            ValueError: the structure or activation of a layer, the observation step or the head
                differs; the plan is then as it was.
            TypeError: `policy` is not a `SparsePolicy`.
        """
        if not isinstance(policy, SparsePolicy):
            raise TypeError(f"policy: expected a SparsePolicy, got {type(policy).__name__}")
        if not same_but_for_values(policy, self.policy) or policy.head != self.policy.head:
            raise ValueError("policy: expected the observation step and head of the compiled one")
        self._plan._update([layer.core_argument() for layer in policy.layers], stream)
        self.policy = policy

    def explain(self) -> str:
        """The device, what a policy takes of it, and the tile that each batch goes through."""
        policy = self.policy
        lines = [
            f"{policy.input_size} inputs, {policy.output_size} outputs, {policy.nnz} weights, "
            f"sparsity {policy.sparsity:.4f}, order {policy.order}",
            f"{self.device}: {_described(self._gpu)}",
            f"{self._plan._places} features at a time, 4 bytes for each column of a tile",
            f"{'batch':>8}{'columns':>9}{'cluster':>9}{'blocks':>8}",
        ]
        for batch in (1, 32, 256, 1024, 4096, 16384, 65536):
            columns, cluster, blocks = self._plan._tiling(batch)
            lines.append(f"{batch:>8}{columns:>9}{cluster:>9}{blocks:>8}")
        lines.append("tiles by a rule of thumb: no GPU has been measured yet")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        """Compiled again from the policy, for the device of the same number."""
        return CudaPlan, (self.policy, self.device)

    def __repr__(self) -> str:
        return f"<CudaPlan of {self.policy!r} on {self.device}>"


def _extension() -> Any:
    """The compiled module.

    Raises:
        RuntimeError: it was not built, or cannot be loaded.
    """
    try:
        return import_module("sparseagent._cuda")
    except ModuleNotFoundError:
        raise RuntimeError(NOT_BUILT) from None
    except ImportError as error:
        raise RuntimeError(f"the CUDA extension cannot be loaded: {error}") from error


def _described(gpu: Mapping[str, Any]) -> str:
    major, minor = gpu["capability"]
    return (
        f"{gpu['name']}, sm_{major}{minor}, {gpu['multiprocessors']} multiprocessors, "
        f"{gpu['shared_bytes'] // 1024} KB of shared memory a block, "
        f"{gpu['memory'] / 2**30:.0f} GiB"
    )


def _in_library(array: Any, like: Any) -> Any:
    """`array` as the library of `like` has arrays; as it is where that takes none."""
    root = type(like).__module__.partition(".")[0]
    if root in ("jax", "jaxlib"):
        return import_module("jax.numpy").from_dlpack(array)
    if root == "numba":
        return import_module("numba.cuda").as_cuda_array(array)
    take = getattr(sys.modules.get(root), "from_dlpack", None)
    return array if take is None else take(array)


def _stream_of(array: Any) -> int | None:
    """The stream that the library of `array` works on, where the array itself does not say so."""
    root = type(array).__module__.partition(".")[0]
    library: Any = sys.modules.get(root)
    if root == "warp":
        return int(library.get_stream(array.device).cuda_stream)
    if root == "torch":
        return int(library.cuda.current_stream(array.device).cuda_stream)
    return None
