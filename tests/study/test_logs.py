"""Where a training logs."""

from __future__ import annotations

import sys
import types
from contextlib import ExitStack

import pytest

from sparseagent.study.cells import cells_of
from sparseagent.study.config import parse_study
from sparseagent.study.logs import open_logger


@pytest.fixture
def cell(content, in_tmp):
    return cells_of(parse_study(content))[2]


class FakeRun:
    def __init__(self, **arguments):
        self.arguments, self.logged, self.finished = arguments, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """Stands for the package; the list of runs that were begun."""
    runs = []

    def init(**arguments):
        runs.append(FakeRun(**arguments))
        return runs[-1]

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return runs


def _log(cell, mode):
    with ExitStack() as stack:
        logger = open_logger(cell, stack, mode)
        logger.record("train/loss", 0.5)
        logger.record("note", "text is not for charts")
        logger.dump(step=64)


def test_tensorboard_always_and_nothing_else(cell, wandb):
    _log(cell, "off")
    assert len(list((cell.folder / "tensorboard").glob("events.*"))) == 1
    assert wandb == []


def test_weights_and_biases_where_asked(cell, wandb):
    _log(cell, "offline")
    (run,) = wandb
    assert run.logged == [(64, {"train/loss": 0.5})]
    assert run.finished
    assert run.arguments["mode"] == "offline"
    assert run.arguments["dir"] == str(cell.folder)
    assert run.arguments["name"] == "CartPole-v1 ppo gmp 0.9 seed 0"
    assert run.arguments["config"]["method"] == "gmp"
    assert run.arguments["config"]["sparsity"] == 0.9


def test_a_missing_package_is_named(cell, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'sparseagent\[study\]'"):
        _log(cell, "online")
