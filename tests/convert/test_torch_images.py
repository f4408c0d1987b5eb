"""Convolutional torch modules: the same numbers, few ops, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sparseagent as sa
from sparseagent.reference import forward_exact
from sparseagent.unsupported import UnsupportedError


class Frames(nn.Module):
    """NatureCNN in small, with the 255 in its forward, as CleanRL has it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(4, 8, 8, 4), nn.ReLU(), nn.Conv2d(8, 12, 4, 2), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(12 * 4 * 4, 5)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.net(x / 255.0))


class Residual(nn.Module):
    """A block of IMPALA: a pool, padding, a relu before the convolution, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.pool(self.first(x))
        x = x + self.second(torch.relu(x))
        return self.head(self.mean(x).flatten(1))


class Sequence(nn.Module):
    """A convolution over time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(3, 5, 3, dilation=2), nn.Tanh(), nn.MaxPool1d(2))
        self.head = nn.Linear(5 * 4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.net(x).flatten(1))


def check(module: nn.Module, step: sa.Observation, rows: Any) -> sa.SparsePolicy:
    policy = sa.from_torch(module, observation=step)
    with torch.no_grad():
        expected = module(torch.tensor(np.asarray(rows, np.float32))).numpy()
    act = sa.compile(policy, tune=0)
    given = act.outputs(rows)["action"]
    assert np.abs(given - expected).max() < 1e-4
    assert np.array_equal(given, forward_exact(policy.program, rows))
    return policy


def test_frames() -> None:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).integers(0, 256, (3, 4, 44, 44), np.uint8)
    policy = check(Frames(), sa.Observation((4, 44, 44), "uint8"), rows)
    assert [op.kind for op in policy.program.ops] == ["observe", "conv2d", "conv2d", "linear"]
    assert policy.observation.is_identity
    assert policy.layers[0].activation == "relu"


def test_residual_blocks() -> None:
    torch.manual_seed(1)
    rows = np.random.default_rng(1).normal(size=(3, 3, 10, 10)).astype(np.float32)
    policy = check(Residual(), sa.Observation((3, 10, 10)), rows)
    kinds = [op.kind for op in policy.program.ops]
    assert kinds.count("conv2d") == 2
    assert "pool" in kinds


def test_sequences() -> None:
    torch.manual_seed(2)
    rows = np.random.default_rng(2).normal(size=(3, 3, 12)).astype(np.float32)
    check(Sequence(), sa.Observation((3, 12)), rows)


def test_masks_have_the_matrix_view() -> None:
    torch.manual_seed(3)
    module = Frames()
    mask = np.random.default_rng(3).random((8, 4 * 64)) < 0.2
    with torch.no_grad():
        weight = module.net[0].weight
        weight *= torch.tensor(mask.reshape(8, 4, 8, 8))
    step = sa.Observation((4, 44, 44), "uint8")
    policy = sa.from_torch(module, observation=step, masks={"net.0.weight": mask})
    assert policy.layers[0].nnz == int(mask.sum())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "expected one group"),
        (nn.Conv2d(4, 4, 3, padding="same"), "expected padding in numbers"),
        (nn.MaxPool2d(3, ceil_mode=True), "expected neither ceil_mode"),
        (nn.AdaptiveAvgPool2d(2), "expected the mean over the whole image"),
    ],
)
def test_what_is_not_there_is_named(module: nn.Module, message: str) -> None:
    net = nn.Sequential(module, nn.Flatten(), nn.LazyLinear(2))
    net(torch.zeros(1, 4, 8, 8))
    with pytest.raises(UnsupportedError, match=message):
        sa.from_torch(net, observation=sa.Observation((4, 8, 8)))
