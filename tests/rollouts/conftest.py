"""The toy environments have ids while a test runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("toys")


@pytest.fixture(autouse=True)
def _toy_environments() -> Iterator[None]:
    # Here, so that tests without gymnasium are skipped where they import the toys.
    import gymnasium as gym
    from toys import CYCLE, DRAW, Cycle, Draw

    gym.register(CYCLE, entry_point=Cycle)
    gym.register(DRAW, entry_point=Draw)
    yield
    del gym.registry[CYCLE], gym.registry[DRAW]
