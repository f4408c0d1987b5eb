"""Making a Sparsifier, training beside it, and checking its zeros."""

import torch
from torch import nn

from sparseagent.prune import (
    Magnitude,
    OneShot,
    Sparsifier,
)


def sparsify(module, schedule=None, score=None, **options):
    return Sparsifier(
        module, score=score or Magnitude(), schedule=schedule or OneShot(to=0.5), **options
    )


def train_step(net, optimizer, index=0):
    """One update on data that depend on `index` only."""
    generator = torch.Generator().manual_seed(index)
    x = torch.randn(16, net[0].in_features, generator=generator)
    y = torch.randn(16, net[-1].out_features, generator=generator)
    optimizer.zero_grad()
    nn.functional.mse_loss(net(x), y).backward()
    optimizer.step()


def assert_zeros(net, sparsifier):
    state = net.state_dict()
    for name, mask in sparsifier.masks.items():
        assert not state[name][~mask].any()
        assert state[name][mask].all()
