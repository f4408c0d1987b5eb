"""Walks torch modules and adds them to a `Builder`; refuses, by name, what it cannot represent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.unsupported import UnsupportedError
from sparseagent.csr import Float32

#: Modules that leave features alone at evaluation.
_TRANSPARENT = (nn.Identity, nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)

#: Activations without a parameter.
_PLAIN: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.SELU: "selu",
    nn.Softplus: "softplus",
    nn.Softsign: "softsign",
    nn.Mish: "mish",
}

#: What a policy activation is called, and the module that stands for it.
ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "selu": nn.SELU,
    "celu": nn.CELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "mish": nn.Mish,
}

_SUPPORTED = (
    "Sequential, Linear, Identity, Dropout, Flatten, ReLU, ReLU6, Hardtanh, Tanh, Sigmoid, ELU, "
    "LeakyReLU, SiLU, GELU, SELU, CELU, Softplus, Softsign, Mish"
)


def add_module(builder: Builder, x: Value, path: str, module: nn.Module) -> Value:
    """What `module`, and what a Sequential holds, makes of `x` at evaluation.

    Args:
        builder: what is being built.
        x: what the module takes.
        path: where the module lies, such as `"actor.mu.2"`; messages name it.
        module: one of the modules in the message below.

    Raises:
        UnsupportedError: a module that is not known, or weights that are not float32.
        ValueError: an option or a number that a policy cannot hold.
    """
    name = f"module '{path}' ({type(module).__name__})"
    _check_ready(name, module)
    if _acts_as(module, nn.Sequential):
        for key, child in module._modules.items():  # named_children() skips a module used twice
            if child is not None:
                x = add_module(builder, x, f"{path}.{key}" if path else key, child)
    elif _acts_as(module, nn.Linear):
        key = f"{path}.weight" if path else "weight"
        weight = read_tensor(name, module, "weight")
        x = builder.linear(x, weight, _read_bias(name, module), key=key, path=name)
    elif _acts_as(module, nn.Flatten):
        _check_flatten(name, module)
    elif not any(_acts_as(module, kind) for kind in _TRANSPARENT):
        x = _add_activation(builder, x, name, module)
    return x


def read_tensor(name: str, module: nn.Module, attribute: str) -> Float32:
    """The parameter that a module computes with, on the CPU, masks and parametrizations applied.

    `torch.nn.utils.prune` refreshes `module.weight` only in the next forward pass; the mask is
    therefore applied here, so that a step of the optimizer in between is not lost.
    """
    training = module.training
    try:
        if parametrize.is_parametrized(module):
            module.eval()  # a spectral norm would iterate, and so change, in training mode
        with torch.no_grad():
            value = _masked(module, attribute)
    finally:
        module.train(training)
    return float32_array(f"{name}: {attribute}", value)


def float32_array(name: str, tensor: torch.Tensor) -> Float32:
    """A float32 tensor from any device as an array, sparse layouts made dense.

    The array may share the tensor's memory; a `Layer` copies it.

    Raises:
        UnsupportedError: another dtype: casting it would round, and that choice is the caller's.
        ValueError: a tensor without numbers (on the meta device).
    """
    if tensor.dtype != torch.float32:
        raise UnsupportedError(
            f"{name}: expected float32, got {tensor.dtype}; call .float() on the module first, "
            f"so that the rounding is yours"
        )
    if tensor.is_meta:
        raise ValueError(f"{name}: expected numbers, got a tensor on the meta device")
    dense = tensor.detach().cpu()
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    array: Float32 = dense.numpy()
    return array


def _masked(module: nn.Module, attribute: str) -> Any:
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == attribute:
            return hook.apply_mask(module)  # type: ignore[no-untyped-call]
    return getattr(module, attribute)


def _read_bias(name: str, module: nn.Module) -> Float32 | None:
    return None if module.bias is None else read_tensor(name, module, "bias")


def _acts_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether `module` computes what `kind` computes: a subclass must not bring its own forward."""
    own = type(module).forward is not kind.forward or "forward" in vars(module)
    return isinstance(module, kind) and not own


def _check_ready(name: str, module: nn.Module) -> None:
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters(recurse=False)):
        raise ValueError(f"{name}: expected initialised weights; run the module once first")
    hooks = [
        hook
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if not isinstance(hook, BasePruningMethod)
    ]
    if hooks:
        kinds = ", ".join(getattr(hook, "__qualname__", type(hook).__name__) for hook in hooks)
        raise ValueError(
            f"{name}: expected no forward hooks, which may change what it computes, got {kinds}"
        )


def _check_flatten(name: str, module: Any) -> None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise ValueError(
            f"{name}: expected start_dim 1 and end_dim -1, got {module.start_dim} and "
            f"{module.end_dim}"
        )


def _add_activation(builder: Builder, x: Value, name: str, module: Any) -> Value:
    for kind, activation in _PLAIN.items():
        if _acts_as(module, kind):
            _check_softplus(name, module)
            return builder.activation(x, activation, path=name)
    if _acts_as(module, nn.ELU):
        return builder.activation(x, "elu", float(module.alpha), path=name)
    if _acts_as(module, nn.LeakyReLU):
        return builder.activation(x, "leaky_relu", float(module.negative_slope), path=name)
    if _acts_as(module, nn.GELU):
        exact = module.approximate == "none"
        return builder.activation(x, "gelu" if exact else "gelu_tanh", path=name)
    if _acts_as(module, nn.CELU):
        return builder.activation(x, "celu", float(module.alpha), path=name)
    if _acts_as(module, nn.Hardtanh):  # ReLU6 is one
        return builder.clamp(x, float(module.min_val), float(module.max_val), path=name)
    raise UnsupportedError(f"{name}: not representable as ops; expected one of {_SUPPORTED}")


def _check_softplus(name: str, module: Any) -> None:
    # Beyond torch's threshold it is the input itself, which it is in float32 from 17 on.
    if isinstance(module, nn.Softplus) and (module.beta != 1 or module.threshold < 17):
        raise ValueError(
            f"{name}: expected beta 1 and a threshold of at least 17, got {module.beta} and "
            f"{module.threshold}"
        )
