"""Adding a penalty to the loss of a training loop that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from sparseagent.agents import adapt, module_of
from sparseagent.prune.checks import require_callable
from sparseagent.prune.penalty.protocol import Penalty
from sparseagent.prune.proximal import ProximalPenalty, is_proximal


def penalise(
    module: Any,
    penalty: Penalty,
    *,
    optimizer: Optimizer | None = None,
    batch: Callable[[], Any] | None = None,
) -> RemovableHandle:
    """Add a penalty's gradient to that of the loss before each step of an optimizer.

    It is not decoupled: the gradient passes through the optimizer (Adam's scaling, momentum) as if
    the penalty were part of the loss. Stable-Baselines3 clips gradients before the step, so the
    penalty is not clipped. A `Sparsifier` that observes gradients sees the penalty's if `penalise`
    was called before its `attach`.

    A proximal penalty, such as `InputLasso`, adds no gradient: it shrinks the weights after each
    step, by the learning rate of that step.

    Args:
        module: A Stable-Baselines3 model, whose acting network is penalised; or a network.
        penalty: Such as `GroupLasso(1e-4)`.
        optimizer: The one that updates the network; of a model it is found.
        batch: Called before each step for the inputs on which activations are looked at; `None`
            for the recent observations of a model, and for none otherwise.

    Returns:
        The hook; `remove()` ends it.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A network comes without an optimizer, or a proximal penalty with a batch; or,
            at a step, a proximal penalty finds several learning rates.
    """
    require_callable("penalty", penalty, "(module, batch) -> scalar, such as L1Penalty(1e-5)")
    network, agent = module_of("module", module), adapt(module)
    if optimizer is None and agent is not None:
        optimizer = agent.acting_optimizer()
    if optimizer is None:
        raise ValueError("optimizer: expected the one that updates the module, got None")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}"
        )
    if is_proximal(penalty):
        if batch is not None:
            raise ValueError("batch: expected None with a proximal penalty, which needs no inputs")
        return _shrink_after(optimizer, network, penalty)
    if batch is not None:
        require_callable("batch", batch, "() -> inputs")
    elif agent is not None and agent.model is not None:
        batch = agent.recent_observations

    def add(optimizer: Optimizer, *_: Any) -> None:
        # Looked up at each step: removal of neurons puts other parameters in place.
        parameters = [p for g in optimizer.param_groups for p in g["params"] if p.requires_grad]
        with torch.enable_grad():
            value = penalty(network, None if batch is None else batch())
            grads = torch.autograd.grad(value, parameters, allow_unused=True)
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is not None:
                parameter.grad = grad if parameter.grad is None else parameter.grad + grad

    return optimizer.register_step_pre_hook(add)


def _shrink_after(
    optimizer: Optimizer, network: nn.Module, penalty: ProximalPenalty
) -> RemovableHandle:
    def shrink(optimizer: Optimizer, *_: Any) -> None:
        rates = {float(group["lr"]) for group in optimizer.param_groups}
        if len(rates) > 1:
            raise ValueError(
                f"optimizer: expected one learning rate for a proximal penalty, got {sorted(rates)}"
            )
        penalty.shrink(network, rates.pop())

    return optimizer.register_step_post_hook(shrink)
