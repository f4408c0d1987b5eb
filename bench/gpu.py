"""One command on a machine with a GPU: are the plan's bits right, and how fast is it against torch.

    python -m bench.gpu --minutes 9 --out gpu.csv
    python -m bench.gpu --dry          anywhere: the same code, with the CPU's plan

Verified first: a wrong bit ends the run. Then the cells, the most telling ones first, each row
flushed as it is measured: a run that is cut off leaves a file that can be read. Every row has the
time by the device's events with calls back to back (`event_us`), that of a call inside a graph of
20 (`graph_us`: the device alone, no launch is waited for), and the wall time of a call that is
waited for (`wall_p50_us`, `wall_p99_us`). It has never run on a GPU yet.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sparseagent as sa
from bench.machine import ROOT, cpu_model
from bench.nets import NETS, Net
from sparseagent.train.machine import source_commit

#: What people run on GPUs, beside two of the reference nets.
GPU_NETS = (
    NETS["M"],
    Net("G1", (123, 512, 256, 128, 37), "elu"),
    Net("Ant", (60, 256, 128, 64, 8), "elu"),
    Net("P128", (48, 128, 128, 128, 128, 12), "silu"),
    NETS["XL"],
)
SPARSITIES = (0.9, 0.95, 0.8, 0.99, 0.0)
BATCHES = (4096, 1, 1024, 64, 16384, 65536)
VERIFIED = (*range(1, 261), 1023, 4096, 4097, 65537)
GRAPH_CALLS = 20
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
    "silu": torch.nn.functional.silu,
}


@dataclass(frozen=True)
class Row:
    """One line of the table: where and what was measured, microseconds, largest difference."""

    device: str
    commit: str
    torch: str
    net: str
    sparsity: float | str = ""
    batch: int | str = ""
    contender: str = ""
    precision: str = ""
    event_us: float | str = ""
    graph_us: float | str = ""
    wall_p50_us: float | str = ""
    wall_p99_us: float | str = ""
    max_error: float | str = ""
    note: str = ""


def policy_of(net: Net, sparsity: float, seed: int = 0) -> sa.SparsePolicy:
    """Random weights under a random mask, scaled to the inputs that remain."""
    rng = np.random.default_rng(seed)
    layers = []
    for number, (width, out) in enumerate(zip(net.sizes[:-1], net.sizes[1:], strict=True)):
        kept = rng.random((out, width)) >= sparsity
        scale = np.sqrt(2 / max(1.0, width * (1 - sparsity)))
        weight = (rng.standard_normal((out, width)) * kept * scale).astype(np.float32)
        last = number == len(net.sizes) - 2
        layers.append(
            sa.Layer(
                sa.CSR.from_dense(weight),
                0.1 * rng.standard_normal(out).astype(np.float32),
                "identity" if last else net.activation,
                1.0 if net.activation == "elu" and not last else 0.0,
            )
        )
    return sa.SparsePolicy(sa.chain(tuple(layers), sa.Observation((net.sizes[0],))))


class Dense(torch.nn.Module):
    """The network as torch users run it: dense, or its weights as torch's sparse CSR."""

    def __init__(self, policy: sa.SparsePolicy, device: str, sparse: bool = False) -> None:
        super().__init__()
        self.weights = [
            torch.tensor(layer.dense_weight(), device=device) for layer in policy.layers
        ]
        self.biases = [torch.tensor(layer.bias, device=device) for layer in policy.layers]
        self.activations = [ACTIVATIONS[layer.activation] for layer in policy.layers]
        self.sparse = sparse
        if sparse:
            self.weights = [weight.to_sparse_csr() for weight in self.weights]

    def cast(self, dtype: torch.dtype) -> Dense:
        """The same in another precision, in place."""
        self.weights = [weight.to(dtype) for weight in self.weights]
        self.biases = [bias.to(dtype) for bias in self.biases]
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Observations `[B, in]` to outputs `[B, out]`."""
        x = x.to(self.biases[0].dtype)
        for weight, bias, act in zip(self.weights, self.biases, self.activations, strict=True):
            y = (weight @ x.T).T + bias if self.sparse else torch.addmm(bias, x, weight.T)
            x = act(y)
        return x


@dataclass(frozen=True)
class Contender:
    """One way to run the network.

    Attributes:
        name: of the table.
        precision: of its products, as `fp32`.
        call: once over the batch; returns the outputs.
        capturable: whether a CUDA graph can hold it.
    """

    name: str
    precision: str
    call: Callable[[], Any]
    capturable: bool = True


def with_precision(setting: str, net: Any, x: torch.Tensor) -> Any:
    """`net(x)` with torch's switch for the matrix units set: `highest` is fp32, `high` tf32."""
    torch.set_float32_matmul_precision(setting)
    return net(x)


def contenders(policy: sa.SparsePolicy, x: torch.Tensor, sparsity: float) -> Iterator[Contender]:
    """All of them for one cell; dense torch sees no zeros, so it stands at one sparsity alone."""
    device = x.device.type
    rows = x if device == "cuda" else x.numpy()
    plan = compiled(policy, device)
    out = torch.empty(len(x), policy.output_size, device=device)
    target = out if device == "cuda" else out.numpy()

    def ours() -> Any:
        plan(rows, target)
        return out

    yield Contender("sparseagent", "fp32 exact", ours)
    if sparsity == SPARSITIES[0]:
        net = Dense(policy, device)
        yield Contender("torch eager", "fp32", partial(with_precision, "highest", net, x))
        yield Contender("torch eager", "tf32", partial(with_precision, "high", net, x))
        half = Dense(policy, device).cast(torch.bfloat16)
        yield Contender("torch eager", "bf16", partial(half, x))
        if len(x) in (1, 4096) and device == "cuda":  # tuning takes most of a minute
            tuned = torch.compile(net, mode="max-autotune-no-cudagraphs", dynamic=False)
            yield Contender("torch compile", "tf32", partial(with_precision, "high", tuned, x))
    csr = Dense(policy, device, sparse=True)
    yield Contender("torch sparse CSR", "fp32", partial(csr, x), capturable=False)


def compiled(policy: sa.SparsePolicy, device: str) -> Any:
    """The plan for that device."""
    return sa.compile(policy, device="cuda") if device == "cuda" else sa.compile(policy, tune=0)


class Clock:
    """Times calls for about so many seconds; without a GPU by the wall alone."""

    def __init__(self, device: str, seconds: float) -> None:
        self.cuda = device == "cuda"
        self.seconds = seconds

    def measure(self, contender: Contender) -> dict[str, float]:
        """The three kinds of times in us."""
        for _ in range(5):
            contender.call()
        once = self._wall(contender.call, 1)[0] / 1e6
        count = int(min(2000, max(20, self.seconds / 3 / max(1e-6, once))))
        wall = self._wall(contender.call, min(count, 500))
        times = {
            "wall_p50_us": statistics.median(wall),
            "wall_p99_us": float(np.percentile(wall, 99)),
        }
        if self.cuda:
            times["event_us"] = self._events(contender.call, count)
            if contender.capturable:
                times["graph_us"] = self._graph(contender.call)
        return times

    def _wall(self, call: Callable[[], Any], count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = time.perf_counter()
            call()
            if self.cuda:
                torch.cuda.synchronize()
            times.append((time.perf_counter() - start) * 1e6)
        return times

    def _events(self, call: Callable[[], Any], count: int) -> float:
        times: list[float] = []
        event: Any = torch.cuda.Event
        for _ in range(5):
            start, end = event(enable_timing=True), event(enable_timing=True)
            start.record()
            for _ in range(count):
                call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) * 1e3 / count)
        return statistics.median(times)

    def _graph(self, call: Callable[[], Any]) -> float:
        stream: Any = torch.cuda.Stream
        side = stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(GRAPH_CALLS):
                call()
        return self._events(graph.replay, 50) / GRAPH_CALLS


def verify(device: str, batches: tuple[int, ...]) -> Iterator[str]:
    """Nets whose plan gives the CPU's bits at every batch size.

    Raises:
        SystemExit: one does not.
    """
    rng = np.random.default_rng(1)
    for net in GPU_NETS:
        policy = policy_of(net, 0.9)
        plan, cpu = compiled(policy, device), sa.compile(policy, tune=0)
        x = rng.standard_normal((max(batches), net.sizes[0])).astype(np.float32)
        x[3:7, :2] = [[np.nan, 1], [np.inf, -np.inf], [-0.0, 1e-42], [3e38, -3e38]]
        whole = cpu(x)
        for batch in batches:
            rows = torch.from_numpy(x[:batch]).cuda() if device == "cuda" else x[:batch]
            found = plan(rows)
            found = found.cpu().numpy() if device == "cuda" else found
            if found.tobytes() != whole[:batch].tobytes():
                raise SystemExit(f"{net.name}, batch {batch}: other bits than the CPU's plan")
        yield net.name


class Table:
    """Rows, written and printed as they come."""

    def __init__(self, path: Path, device: str) -> None:
        self.file = path.open("w", newline="")
        self.writer = csv.DictWriter(self.file, [field.name for field in fields(Row)])
        self.writer.writeheader()
        name = torch.cuda.get_device_name() if device == "cuda" else cpu_model()
        self.known = {"device": name, "commit": source_commit(ROOT), "torch": torch.__version__}

    def add(self, **facts: Any) -> None:
        """One row."""
        row = vars(Row(**self.known, **facts))
        self.writer.writerow(
            {
                k: f"{v:.4g}" if isinstance(v, float) and k != "sparsity" else v
                for k, v in row.items()
            }
        )
        self.file.flush()
        print({key: value for key, value in facts.items() if value != ""}, flush=True)


def run_cell(table: Table, clock: Clock, net: Net, sparsity: float, batch: int) -> None:
    """All contenders on one policy and batch."""
    device = "cuda" if clock.cuda else "cpu"
    policy = policy_of(net, sparsity)
    x = torch.randn(batch, net.sizes[0], device=device)
    expected = Dense(policy, device).cast(torch.float64)(x)
    for contender in contenders(policy, x, sparsity):
        facts: dict[str, Any] = {"contender": contender.name, "precision": contender.precision}
        with torch.inference_mode():
            try:
                facts["max_error"] = (contender.call().double() - expected).abs().max().item()
                facts.update(clock.measure(contender))
            except Exception as error:  # a contender that cannot run is a result too
                facts["note"] = f"{type(error).__name__}: {error}"[:120]
        table.add(net=net.name, sparsity=sparsity, batch=batch, **facts)


def main() -> None:
    """Verify, then measure until the time is up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--out", type=Path, default=Path("gpu.csv"))
    parser.add_argument("--dry", action="store_true", help="on the CPU: does the script work")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    device = "cpu" if args.dry else "cuda"
    if not args.dry and not torch.cuda.is_available():
        parser.error(f"no GPU: {sa.devices()[-1].description} (--dry runs without one)")
    table = Table(args.out, device)
    for name in verify(device, (1, 2, 31, 33, 129) if args.dry else VERIFIED):
        table.add(net=name, contender="sparseagent", note="verified")
    clock = Clock(device, 0.01 if args.dry else 0.3)
    cells = [(n, s, b) for s in SPARSITIES for b in BATCHES for n in GPU_NETS]
    for net, sparsity, batch in cells[:2] if args.dry else cells:
        if time.monotonic() > end:
            break
        run_cell(table, clock, net, sparsity, min(batch, 64) if args.dry else batch)


if __name__ == "__main__":
    main()
