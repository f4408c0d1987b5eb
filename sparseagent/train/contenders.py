"""Who is timed beside the compiled sparse policy: our dense, NumPy, torch, the library's predict.

All contenders get the same observations. The networks (compiled, NumPy, torch) get them as float32
`[B, in]`, normalise them where the policy does, and give the network's output; `model.predict` gets
what the environment hands out and also applies the action head, as it always does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import sparseagent as sa
from sparseagent.csr import Float32
from sparseagent.ops import Layer
from sparseagent.policy import SparsePolicy
from sparseagent.reference import by_name
from sparseagent.report import Latency, measure_latency, pin_core

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

Call = Callable[[], object]
#: Observations `[B, in]`, or arrays by the names of the inputs.
Rows = Float32 | dict[str, np.ndarray[Any, Any]]


def rows_of(observations: np.ndarray[Any, Any]) -> Float32:
    """Observations `[B, *shape]` as the networks take them: float32 `[B, in]`."""
    return np.ascontiguousarray(observations.reshape(len(observations), -1), np.float32)


def compiled(policy: SparsePolicy, rows: Rows) -> Call:
    """The policy as `sa.compile` plans it, into an output array that is reused."""
    return _into(sa.compile(policy), policy, rows)


def compiled_dense(policy: SparsePolicy, rows: Rows) -> Call:
    """The same weights through our own dense kernels: the zeros are multiplied."""
    return _into(sa.compile(policy.repack("ascending"), format="dense"), policy, rows)


def numpy_dense(policy: SparsePolicy, rows: Float32) -> Call:
    """Dense matrices in NumPy: what many people deploy by hand."""
    layers = [
        (np.ascontiguousarray(layer.dense_weight().T), layer.bias, _numpy_activation(layer))
        for layer in policy.layers
    ]
    observe = None if policy.observation.is_identity else policy.observation.apply

    def call() -> Float32:
        x = rows if observe is None else observe(rows)
        for weight, bias, activation in layers:
            x = activation(x @ weight + bias)
        return x

    return call


def torch_dense(policy: SparsePolicy, rows: Float32) -> Call:
    """A bare `torch.nn.Sequential` of the dense matrices, in inference mode."""
    import torch

    modules: list[torch.nn.Module] = []
    for layer in policy.layers:
        out, width = layer.shape
        linear = torch.nn.Linear(width, out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.dense_weight().copy()))
            linear.bias.copy_(torch.from_numpy(layer.bias.copy()))
        modules += [linear, _torch_activation(layer)]
    network = torch.nn.Sequential(*modules).eval()
    observe = None if policy.observation.is_identity else policy.observation.apply

    def call() -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(rows if observe is None else observe(rows)))

    return call


def library_predict(
    model: BaseAlgorithm, statistics: VecNormalize | None, observation: np.ndarray[Any, Any]
) -> Call:
    """`model.predict` of Stable-Baselines3, with its normaliser where there is one."""
    if statistics is None:
        return lambda: model.predict(observation, deterministic=True)
    normalise = statistics.normalize_obs
    return lambda: model.predict(normalise(observation), deterministic=True)


def _into(act: sa.Plan, policy: SparsePolicy, rows: Rows) -> Call:
    if isinstance(rows, dict):
        return lambda: act(rows)
    out = np.empty((len(rows), policy.output_size), np.float32)

    def call() -> Float32:
        act(rows, out)
        return out

    return call


def bench_policy(policy: SparsePolicy, batch: int, calls: int) -> tuple[Latency, ...]:
    """Time a policy against our dense kernels, NumPy and, where it is installed, torch.

    NumPy and torch take part where the policy is one chain of layers.

    Args:
        policy: what to time; the observations are those of its self-test, repeated.
        batch: observations in a call, at least 1.
        calls: timed calls of each contender, at least 1.

    Raises:
        ValueError: a number is out of range.
    """
    if batch < 1:
        raise ValueError(f"batch: expected 1 or more, got {batch}")
    rows = _samples(policy, batch)
    functions = {
        "compiled": compiled(policy, rows),
        "our dense kernel": compiled_dense(policy, rows),
    }
    chain = policy.program.is_chain() and len(policy.layers) == len(policy.program.ops) - 1
    if chain and not isinstance(rows, dict):
        functions["NumPy dense"] = numpy_dense(policy, rows)
        if find_spec("torch") is not None:
            functions["torch dense"] = torch_dense(policy, rows)
    with pin_core():
        return measure_latency(functions, calls=calls)


def _samples(policy: SparsePolicy, batch: int) -> Rows:
    """Observations of the self-test, or zeros, as many as in a call."""
    golden = {} if policy.golden is None else by_name(policy.program, policy.golden.observations)
    given = {
        name: np.resize(golden.get(name, np.zeros((1, *step.shape))), (batch, *step.shape))
        for name, step in policy.inputs.items()
    }
    if len(given) == 1:
        return rows_of(*given.values())
    return {name: array.astype(policy.inputs[name].dtype) for name, array in given.items()}


def _numpy_activation(layer: Layer) -> Callable[[Any], Any]:
    alpha = np.float32(layer.alpha)
    known: dict[str, Callable[[Any], Any]] = {
        "identity": lambda x: x,
        "relu": lambda x: np.maximum(x, np.float32(0)),
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "elu": lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        "leaky_relu": lambda x: np.where(x > 0, x, alpha * x),
        "gelu": lambda x: x * (0.5 + 0.5 * _erf(x * math.sqrt(0.5))),
        "gelu_tanh": lambda x: (
            x * (0.5 + 0.5 * np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        ),
        "selu": lambda x: (
            np.float32(1.0507009873554805)
            * np.where(x > 0, x, np.float32(1.6732632423543772) * np.expm1(np.minimum(x, 0)))
        ),
        "celu": lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        "softplus": lambda x: np.logaddexp(np.float32(0), x),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "mish": lambda x: x * np.tanh(np.logaddexp(np.float32(0), x)),
    }
    return known[layer.activation]


def _erf(x: Float32) -> Float32:
    """The error function within 2e-7, for NumPy has none: Abramowitz and Stegun, 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = 1.421413741 + t * (-1.453152027 + t * 1.061405429)
    series = t * (0.254829592 + t * (-0.284496736 + t * series))
    return np.asarray(np.copysign(1 - series * np.exp(-x * x), x))


def _torch_activation(layer: Layer) -> Any:
    from torch import nn

    known: dict[str, Callable[[], nn.Module]] = {
        "identity": nn.Identity,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
        "elu": lambda: nn.ELU(layer.alpha),
        "leaky_relu": lambda: nn.LeakyReLU(layer.alpha),
        "selu": nn.SELU,
        "celu": lambda: nn.CELU(layer.alpha),
        "softplus": nn.Softplus,
        "softsign": nn.Softsign,
        "mish": nn.Mish,
    }
    return known[layer.activation]()
