"""One torch thread, for the models are tiny and the machine is shared; and saved models."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch
from sb3_models import make_model
from zips import Files

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved() -> dict[str, Files]:
    """The members of sound zips."""
    made = {}
    for algorithm in ("PPO", "DQN", "SAC"):
        buffer = io.BytesIO()
        make_model(algorithm).save(buffer)
        with zipfile.ZipFile(buffer) as archive:
            made[algorithm] = {name: archive.read(name) for name in archive.namelist()}
    return made
