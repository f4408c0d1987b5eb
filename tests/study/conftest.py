from __future__ import annotations

import copy
from pathlib import Path

import pytest

from sparseagent.study.cells import cells_of
from sparseagent.study.config import parse_study
from sparseagent.study.table import COLUMNS, add_row

CONTENT = {
    "study": "small",
    "seeds": 2,
    "episodes": 3,
    "csv": "results.csv",
    "runs": "runs",
    "report": "RESULTS.md",
    "methods": {
        "dense": None,
        "tiny": {"sparsity": 0.9},
        "gmp": {"sparsity": [0.9, 0.95]},
    },
    "environments": [
        {"env": "CartPole-v1", "algos": ["ppo", "dqn"]},
        {"env": "Acrobot-v1", "algos": "ppo", "methods": ["dense", "gmp"]},
    ],
}


@pytest.fixture
def content():
    """What a study's file holds; each test may change it."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def row():
    """A factory of rows of the table."""

    def make(cell=None, **changes):
        found = dict.fromkeys(COLUMNS, "1") | {
            "study": "small",
            "env": "CartPole-v1",
            "algo": "ppo",
            "method": "dense",
            "sparsity": "0",
            "seed": 0,
            "random": 0.0,
            "full": 1_000_000,
            "resumed": False,
        }
        if cell is not None:
            names = ("study", "env", "algo", "method", "sparsity", "seed")
            found |= dict(zip(names, cell.key, strict=True)) | {"settings": cell.fingerprint}
            found["sparsity"] = f"{cell.sparsity:g}"
        return found | changes

    return make


@pytest.fixture
def filled(content, row, tmp_path):
    """A study, its cells and a table; `returns` gives the mean by (method, sparsity, seed)."""

    def make(returns, **changes):
        content.update(environments=[{"env": "CartPole-v1", "algos": "ppo"}], **changes)
        study = parse_study(content)
        table = tmp_path / "results.csv"
        cells = cells_of(study)
        for cell in cells:
            mean = returns.get((cell.method.name, cell.sparsity, cell.seed))
            if mean is not None:
                add_row(table, row(cell, mean=mean, worst_decile=mean))
        return study, cells, table

    return make


@pytest.fixture
def in_tmp(tmp_path, monkeypatch) -> Path:
    """Relative paths of a study's file lie in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
