"""The toy environment has an id while a test runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _toy_environment() -> Iterator[None]:
    import gymnasium as gym
    from worlds import SLOPE, Slope

    gym.register(SLOPE, entry_point=Slope, max_episode_steps=1000)
    yield
    del gym.registry[SLOPE]
