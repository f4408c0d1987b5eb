"""The observations of the self-test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseagent as sa
from sparseagent.convert.golden import golden_observations
from sparseagent.ops.observe import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 5)])
def test_shape_type_and_repeatability(dtype: str, shape: tuple[int, ...]) -> None:
    observation = sa.Observation(shape, dtype)
    seen = golden_observations(observation)
    assert seen.shape == (8, *shape)
    assert seen.dtype == np.dtype(dtype)
    assert len(np.unique(seen, axis=0)) > 4
    np.testing.assert_array_equal(seen, golden_observations(observation))


def test_bounds_are_kept_and_used() -> None:
    low = np.array([-3.0, 0.0, -np.inf, 5.0, -3.4e38, -3.4e38], np.float32)
    high = np.array([-2.0, np.inf, np.inf, 5.0, 3.4e38, 0.0], np.float32)
    seen = golden_observations(sa.Observation((6,)), low, high, count=200)
    assert np.isfinite(seen).all()
    assert (seen >= low).all()
    assert (seen <= high).all()
    assert np.ptp(seen[:, 0]) > 0.9
    assert np.abs(seen[:, [2, 4, 5]]).max() < 10


def test_normalised_observations_lie_around_the_mean() -> None:
    mean, var = np.array([100.0, -7.0]), np.array([25.0, 1e-4])
    observation = sa.Observation.normalise(mean, var, eps=0.0, clip=10.0)
    seen: Any = golden_observations(observation, count=400)
    np.testing.assert_allclose(seen.mean(axis=0), mean, atol=0.6)
    np.testing.assert_allclose(seen.std(axis=0), 1.5 * np.sqrt(var), rtol=0.2)
