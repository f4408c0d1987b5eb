"""Runs a module's `forward` on values of a `Builder` and collects the ops that it computes.

Torch hands every function that meets a `Traced` to its `__torch_function__`, which looks the
function's name up in `torch_rules.RULES`. So it does not matter how a network is written: modules,
functional calls, operators, branches on shapes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils.prune import BasePruningMethod

from sparseagent.convert import torch_functions as _functions  # noqa: F401, they enter their rules
from sparseagent.convert import torch_shapes as _shapes  # noqa: F401
from sparseagent.convert.builder import Builder, Value
from sparseagent.convert.features import Features, Spread
from sparseagent.convert.torch_rules import RULES, Scope
from sparseagent.unsupported import UnsupportedError

#: Attributes and methods of a tensor that say what it is like.
_SIZES: Mapping[str, Callable[[Any], Any]] = {
    "shape": lambda x: torch.Size(x.full_shape),
    "ndim": lambda x: len(x.full_shape),
    "dtype": lambda x: torch.float32,
    "device": lambda x: torch.device("cpu"),
    "requires_grad": lambda x: False,
    "is_cuda": lambda x: False,
    "is_sparse": lambda x: False,
    "is_nested": lambda x: False,
    "is_quantized": lambda x: False,
    "layout": lambda x: torch.strided,
    "dim": lambda x: lambda: len(x.full_shape),
    "ndimension": lambda x: lambda: len(x.full_shape),
    "is_floating_point": lambda x: lambda: True,
    "is_contiguous": lambda x: lambda *a, **k: True,
    "numel": lambda x: lambda: torch.Size(x.full_shape).numel(),
    "size": lambda x: (
        lambda dim=None: torch.Size(x.full_shape) if dim is None else x.full_shape[dim]
    ),
}
_OPERATORS = {
    "add": ("__add__", "__radd__"),
    "mul": ("__mul__", "__rmul__"),
    "sub": ("__sub__",),
    "rsub": ("__rsub__",),
    "div": ("__truediv__",),
    "rdiv": ("__rtruediv__",),
    "matmul": ("__matmul__",),
    "rmatmul": ("__rmatmul__",),
    "neg": ("__neg__",),
    "pow": ("__pow__",),
    "getitem": ("__getitem__",),
}
#: What Python and torch call an operator, and the rule's name where it is another one.
_NAMES = {
    method.strip("_"): name for name, methods in _OPERATORS.items() for method in methods[:1]
} | {"radd": "add", "rmul": "mul", "truediv": "div", "rtruediv": "rdiv", "rdiv": "rdiv"}


class Traced:
    """A tensor `[B, *shape]` that is not computed but noted."""

    def __init__(self, tracer: Tracer, features: Any) -> None:
        self.tracer = tracer
        self.features = features

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Torch asks this in place of computing."""
        found = next(_traced_in((*args, *(kwargs or {}).values())))
        return found.tracer.call(_name_of(func), args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name in _SIZES:
            return _SIZES[name](self.features)
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Any:
            return self.tracer.call(name, (self, *args), kwargs)

        return method

    @property
    def T(self) -> Any:  # noqa: N802
        """The batch and the features, exchanged, which nothing here can be."""
        return self.tracer.call("t", (self,), {})

    def __bool__(self) -> bool:
        raise UnsupportedError(
            f"{self.tracer.where}: expected a network that does the same for every observation, "
            "got a decision on computed numbers (if, while, assert); clamp and relu need none"
        )

    def __lt__(self, other: object) -> bool:
        return bool(self)

    __le__ = __gt__ = __ge__ = __lt__

    def __len__(self) -> int:
        return int(self.features.full_shape[0])

    def __iter__(self) -> Iterator[Any]:
        raise UnsupportedError(
            f"{self.tracer.where}: expected a network that treats observations alike, got a loop "
            "over the batch; unbind(1) goes through a row"
        )

    def __float__(self) -> float:
        raise UnsupportedError(
            f"{self.tracer.where}: expected tensors all the way, got a conversion to a number"
        )


def _operator(name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any) -> Any:
        return self.tracer.call(name, (self, *args), {})

    return method


for _name, _methods in _OPERATORS.items():
    for _method in _methods:
        setattr(Traced, _method, _operator(_name))


class Tracer:
    """Traces calls of a module and of what it holds.

    Args:
        builder: where ops go.
        root: the module.
        path: where it lies, put before the names of what it holds.
    """

    def __init__(self, builder: Builder, root: nn.Module, path: str = "") -> None:
        self.builder = builder
        self._root = root
        self._path = path
        self._modules = {
            id(module): _joined(path, name)
            for name, module in root.named_modules(remove_duplicate=False)
        }
        self._parameters = {
            id(tensor): _joined(path, name)
            for name, tensor in root.named_parameters(remove_duplicate=False)
        }
        self._stack: list[tuple[str, nn.Module]] = [(path, root)]
        self._thread = threading.get_ident()

    @property
    def where(self) -> str:
        """The module whose forward runs, as messages name it."""
        path, module = self._stack[-1]
        return f"module '{path}' ({type(module).__name__})"

    def key(self, weight: torch.Tensor) -> str | None:
        """The name of a weight among the masks; it may be a view of a parameter."""
        for tensor in (weight, weight._base):
            if tensor is not None and id(tensor) in self._parameters:
                return self._parameters[id(tensor)]
        path, module = self._stack[-1]
        computed = "weight" not in module._parameters and hasattr(module, "weight")
        return _joined(path, "weight") if computed else None

    def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `call` gives of values, which may lie in dicts, lists and tuples."""
        check_modules(self._root, self._path)
        with _evaluating(self._root), torch.no_grad(), self._following():
            given = _mapped((Value, Features), self._given, (args, kwargs))
            result = self._call(call, *given[0], **given[1])
        return _mapped(Traced, self._value, result)

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except ValueError:  # of a rule, UnsupportedError too
            raise
        except Exception as error:
            raise UnsupportedError(
                f"{self.where}: expected a forward that works on tensors alone, got "
                f"{type(error).__name__}: {error}"
            ) from error

    def _given(self, x: Value | Features) -> Traced:
        flat = Features(self.builder, x, (x.size,)) if isinstance(x, Value) else x
        return self.wrap(flat)

    def _value(self, x: Traced) -> Value:
        if not isinstance(x.features, Features):
            raise UnsupportedError("module: expected tensors, got a square root as an output")
        value: Value = x.features.value
        return value

    def wrap(self, features: Features | Spread) -> Traced:
        """Features as a tensor of torch."""
        return Traced(self, features)

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of a function of torch by its rule."""
        rule_name = _NAMES.get(name.strip("_"), name.strip("_"))
        in_place = (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace", False)
        if rule_name in _SIZES:
            (found, *rest) = args
            attribute = _SIZES[rule_name](found.features)
            return attribute(*rest, **kwargs) if callable(attribute) else attribute
        rule = RULES.get(rule_name)
        if rule is None:
            raise UnsupportedError(
                f"{self.where}: {name}: not representable as ops; expected "
                f"{', '.join(sorted(RULES))}"
            )
        plain = _mapped(Traced, lambda x: x.features, (tuple(args), dict(kwargs)))
        plain[1].pop("inplace", None)
        if rule_name not in ("mul", "multiply", "div", "divide", "true_divide") and any(
            isinstance(part, Spread) for part in plain[0]
        ):
            raise UnsupportedError(
                f"{self.where}: {name}: expected a row over its own spread, got another use of a "
                "square root"
            )
        try:
            result = rule(Scope(self), *plain[0], **plain[1])
        except UnsupportedError as error:
            raise UnsupportedError(f"{self.where}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error
        except TypeError as error:  # arguments that the rule does not know
            raise UnsupportedError(f"{self.where}: {rule_name}: {error}") from error
        if in_place and isinstance(args[0], Traced) and isinstance(result, Features):
            args[0].features = result
            return args[0]
        return _mapped((Features, Spread), self.wrap, result)

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        """Keep track of the module whose forward runs."""

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == self._thread:
                known = self._modules.get(id(module), self._stack[-1][0])
                self._stack.append((known, module))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if threading.get_ident() == self._thread:
                self._stack.pop()

        handles = (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def trace(builder: Builder, module: nn.Module, x: Any, *, path: str = "", call: Any = None) -> Any:
    """What a module gives at evaluation, as ops of `builder`.

    Args:
        builder: where ops go.
        module: it is left as it is.
        x: a `Value`, which is a tensor `[B, n]`, or `Features` of another shape; a dict of such for
            a module that takes one, a tuple for one that takes several.
        path: where the module lies, such as `"actor.mu"`; masks and messages name parts by it.
        call: what to call in place of the module itself, such as a method of it.

    Returns:
        What the module returns, with a `Value` for every tensor.

    Raises:
        UnsupportedError: a function that is no op, named with its module, or weights that are not
            float32.
        ValueError: an option or a number that a policy cannot hold.
    """
    arguments = x if isinstance(x, tuple) else (x,)
    return Tracer(builder, module, path).run(call or module, *arguments)


def add_module(builder: Builder, x: Value, path: str, module: nn.Module) -> Value:
    """`trace` of a module that maps one tensor to one."""
    result = trace(builder, module, x, path=path)
    if not isinstance(result, Value):
        raise UnsupportedError(
            f"module '{path}' ({type(module).__name__}): expected one tensor, got "
            f"{type(result).__name__}"
        )
    return result


def _name_of(func: Any) -> str:
    """The name of a function of torch, be it of ATen, of a module or a method."""
    packet = getattr(func, "overloadpacket", None)
    if packet is not None or hasattr(func, "_qualified_op_name"):
        return str((packet or func).__name__)
    if getattr(func, "__name__", None) == "__get__":  # an attribute of torch.Tensor
        return str(func.__self__.__name__)
    return str(getattr(func, "__name__", func))


def _traced_in(tree: Any) -> Iterator[Traced]:
    if isinstance(tree, Traced):
        yield tree
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _traced_in(part)


def _mapped(kind: Any, change: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with every `kind` in its dicts, lists and tuples changed."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _mapped(kind, change, part) for key, part in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named one
        return type(tree)(*(_mapped(kind, change, part) for part in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(kind, change, part) for part in tree)
    return tree


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


@contextlib.contextmanager
def _evaluating(root: nn.Module) -> Iterator[None]:
    """Every module in evaluation, and back where it was."""
    modes = [(module, module.training) for module in root.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_modules(root: nn.Module, path: str = "") -> None:
    """Raise ValueError if a module has no weights yet, or hooks that may change what it computes.

    Args:
        root: the module that holds them.
        path: where it lies; messages name modules.
    """
    for name, module in root.named_modules():
        _check_module(_joined(path, name), module)


def _check_module(path: str, module: nn.Module) -> None:
    name = f"module '{path}' ({type(module).__name__})"
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
