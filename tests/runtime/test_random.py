"""Random numbers of the core: known words, error bounds of log and normal, distributions."""

from __future__ import annotations

import numpy as np
import pytest
import sampling_contract
from networks import ISAS
from scipy import special, stats

from sparseagent import _core

# Random123's kat_vectors for philox4x32-10: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("isa", ISAS)
def test_known_words(isa: str) -> None:
    """The counter is (block + 2^24 stream, row, step low, step high), the key the seed."""
    for counter, key, known in KNOWN:
        block, row, low, high = counter
        seed, step = key[0] | key[1] << 32, low | high << 32
        rows = np.array([row], np.uint32)
        drawn = _core.random_words(seed, step, rows, block >> 24, 4, isa, block & 0xFFFFFF)
        assert tuple(drawn[0]) == known


@pytest.mark.parametrize("isa", ISAS)
def test_words_and_normals_are_those_of_the_contract(isa: str) -> None:
    rows = np.random.default_rng(0).integers(0, 2**32, 37, np.uint32)
    for seed, step, stream, draws in ((0, 0, 0, 1), (2**63 + 5, 2**40 + 1, 1, 401)):
        drawn = _core.random_words(seed, step, rows, stream, draws, isa)
        assert (drawn == sampling_contract.philox(seed, step, rows, stream, draws)).all()
        wanted = sampling_contract.normal(drawn)
        assert _core.normals(drawn, isa).tobytes() == wanted.tobytes()


def test_normal_is_the_inverse_of_the_distribution_function() -> None:
    """Within 3e-6 for every word; monotone; the tails to their ends."""
    rng = np.random.default_rng(1)
    k = np.unique(
        np.concatenate(
            [
                np.arange(5000),
                2**31 - 1 - np.arange(5000),
                np.geomspace(1, 2**31 - 1, 500_000).astype(np.int64),
                rng.integers(0, 2**31, 1_000_000),
            ]
        )
    )
    below, above = (_core.normals((k | sign).astype(np.uint32)) for sign in (0, 1 << 31))
    exact = -special.ndtri((k + 0.5) * 2.0**-32)
    assert (below == -above).all()
    assert np.abs(below - exact).max() < 3e-6
    assert below.max() < 6.35
    assert (np.diff(below) <= 2e-6).all()  # but for rounding


def test_log_is_within_an_ulp() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0x00800000, 0x7F800000, 2_000_000, np.uint32)
    near = rng.uniform(0.7, 1.42, 500_000).astype(np.float32)
    x = np.concatenate([bits.view(np.float32), near, np.float32([1.0])])
    exact = np.log(x.astype(np.float64))
    error = np.abs(_core.logarithms(x) - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert error.max() < 1.0
    assert np.isnan(_core.logarithms(np.float32([np.nan])))[0]
    assert _core.logarithms(np.float32([np.inf]))[0] == np.inf


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_normals_are_normal_and_independent(seed: int) -> None:
    """Moments, chi-square of 1024 bins, KS; neighbours in rows, draws and steps."""
    n = 1 << 20
    rows = np.arange(n // 16, dtype=np.uint32)
    z = np.stack(
        [
            _core.normals(_core.random_words(seed, step, rows, 0, 8)).reshape(-1, 8)
            for step in (0, 1)
        ]
    ).astype(np.float64)  # [step, row, draw]
    flat = z.ravel()
    assert abs(flat.mean()) < 4 / np.sqrt(n)
    assert abs(flat.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(flat)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(flat)) < 4 * np.sqrt(24 / n)
    counts = np.bincount((special.ndtr(flat) * 1024).astype(int), minlength=1024)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.kstest(flat[: 1 << 17], "norm").pvalue > 1e-4
    for a, b in (
        (z[0], z[1]),
        (z[:, 1:], z[:, :-1]),
        (z[:, :, 1:], z[:, :, :-1]),
        (z[:, :, 4:], z[:, :, :4]),
    ):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / np.sqrt(a.size)
