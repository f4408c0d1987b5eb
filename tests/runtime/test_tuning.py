"""Choosing kernels: saved tunings, cuts of batches, the time that tuning takes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ISAS, random_policy, same_bits

import sparseagent as sa
from sparseagent.reference import forward_exact

RNG = np.random.default_rng(4)
POLICY = random_policy(RNG, (17, 64, 33, 6), 0.8)
ROWS = RNG.normal(size=(300, 17)).astype(np.float32)


def chosen(act: sa.Plan) -> list[tuple[Any, ...]]:
    return [choice[:3] for choice in act._choices]


def test_a_saved_tuning_is_followed(tmp_path: Path) -> None:
    act = sa.compile(POLICY, tune=5)
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps(act.tuning))
    for saved in (act.tuning, json.loads(file.read_text()), file, str(file)):
        again = sa.compile(POLICY, tune=saved)
        assert chosen(again) == chosen(act)
        assert again._costs == act._costs
        assert again.tuning == act.tuning
        assert same_bits(again(ROWS), forward_exact(POLICY.program, ROWS))


@pytest.mark.parametrize("isa", ISAS)
def test_a_tuning_may_be_edited(isa: str) -> None:
    saved = sa.compile(POLICY, isa=isa, tune=0).tuning
    for number, regime in enumerate(saved["regimes"]):
        regime["formats"] = ["dense", "csr", "dense"] if number % 2 else ["csr", "dense", "csr"]
    act = sa.compile(POLICY, isa=isa, tune=saved)
    assert act.tuning == saved
    assert same_bits(act(ROWS[:67]), forward_exact(POLICY.program, ROWS[:67]))


def test_a_tuning_that_does_not_fit_is_refused() -> None:
    saved = sa.compile(POLICY, tune=0).tuning
    other = random_policy(RNG, (17, 65, 33, 6), 0.8)
    with pytest.raises(ValueError, match=r"tune: expected layers\[0\] to be .*'out': 65"):
        sa.compile(other, tune=saved)
    with pytest.raises(ValueError, match="tune: expected a tuning for isa scalar, got one for"):
        sa.compile(POLICY, isa="scalar", tune={**saved, "isa": "vax"})
    with pytest.raises(ValueError, match="tune: expected 3 layers, got 2"):
        sa.compile(POLICY, tune={**saved, "layers": saved["layers"][:2]})
    with pytest.raises(ValueError, match="tune: expected a format for each of 3 layers"):
        sa.compile(POLICY, tune={**saved, "regimes": saved["regimes"][:1]})
    with pytest.raises(ValueError, match=r"tune: expected what Plan\.tuning gives, got"):
        sa.compile(POLICY, tune={"isa": saved["isa"]})
    with pytest.raises(ValueError, match=r"tune: expected what Plan\.tuning gives, got"):
        sa.compile(POLICY, tune={**saved, "layers": None})
    with pytest.raises(ValueError, match=r"tune: expected a format for each .*, got no regimes"):
        sa.compile(POLICY, tune={**saved, "regimes": []})
    with pytest.raises(ValueError, match="format: expected auto with a saved tuning, got 'csr'"):
        sa.compile(POLICY, tune=saved, format="csr")
    first = {**saved["regimes"][0], "formats": ["perm", "coo", "csr"]}
    with pytest.raises(ValueError, match="got 'coo'"):
        sa.compile(POLICY, tune={**saved, "regimes": [first, *saved["regimes"][1:]]})


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_a_file_that_is_no_json_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"tune: expected a JSON file, got .*broken\.json: "):
        sa.compile(POLICY, tune=file)


def with_times(ns: dict[int, float]) -> sa.Plan:
    """A plan that believes these times of its regimes, by observations."""
    saved = sa.compile(POLICY, tune=0).tuning
    for regime in saved["regimes"]:
        regime["ns"] = ns.get(regime["observations"], 1e9)
    return sa.compile(POLICY, tune=saved)


def cost(ns: dict[int, float], batch: int) -> float:
    """The cheapest cover, by trying everything."""
    best = [0.0]
    for left in range(1, batch + 1):
        fitting = [n for n in ns if n <= left or n >= 8]  # only tiles may be partly empty
        best.append(min(ns[n] + best[max(0, left - n)] for n in fitting))
    return best[batch]


@pytest.mark.skipif("avx512" not in ISAS, reason="the tiles of AVX-512")
@pytest.mark.parametrize(
    "ns",
    [
        {1: 10, 2: 18, 4: 30, 8: 50, 16: 60, 32: 100},
        {1: 1, 2: 9, 4: 9, 8: 90, 16: 90, 32: 90},
        {1: 10, 2: 12, 4: 14, 8: 30, 16: 100, 32: 300},
        {1: 10, 16: 50, 32: 130},
        {1: 10, 16: 50, 32: 90, 128: 250},
    ],
)
def test_cuts_are_the_cheapest_cover(ns: dict[int, float]) -> None:
    act = with_times(ns)
    times = {name: t for name, (_, t) in act._costs.items()}
    room = {name: n for name, (n, _) in act._costs.items()}
    for batch in range(1, 300):
        cuts = act._cuts(batch)
        assert sum(count for _, count in cuts) == batch
        assert all(1 <= count <= room[name] for name, count in cuts)
        assert sum(times[name] for name, _ in cuts) == pytest.approx(cost(ns, batch))


def test_every_cover_gives_the_same_bits() -> None:
    expected = forward_exact(POLICY.program, ROWS)
    for observations in (1, 2, 4, 8, 16, 32, 128):
        act = with_times({observations: 1.0})
        for batch in (1, 2, 3, 5, 7, 31, 33, 67, 300):
            assert same_bits(act(ROWS[:batch]), expected[:batch]), (observations, batch)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["dense", "csr"])
def test_several_tiles_are_the_same_bits_as_one(isa: str, name: str) -> None:
    """Partly filled ones too, and with observations in some tiles that are not finite."""
    policy = random_policy(RNG, (20, 70, 40, 3), 0.5)
    saved = sa.compile(policy, isa=isa, tune=0).tuning
    widest = max(regime["observations"] for regime in saved["regimes"])
    for regime in saved["regimes"]:
        regime["formats"] = [name if regime["observations"] > 4 else "csr"] * 3
        regime["ns"] = 1.0 if regime["observations"] == widest else 1e9
    act = sa.compile(policy, isa=isa, tune=saved)
    rows = RNG.standard_normal((2 * widest, 20)).astype(np.float32)
    rows[widest // 2 + 1, 3] = np.inf
    rows[-1, 7] = np.nan
    expected = forward_exact(policy.program, rows)
    for batch in (widest // 4 + 1, widest // 2 + 2, widest, 2 * widest):
        assert next(count for _, count in act._cuts(batch)) == min(batch, widest)
        assert same_bits(act(rows[:batch]), expected[:batch])


def test_tuning_keeps_to_its_time() -> None:
    """A large network, whose candidates take long: what timing adds is the budget, nearly."""
    policy = random_policy(RNG, (348, 512, 512, 17), 0.8)

    def taken(tune: float) -> float:
        start = time.perf_counter()
        sa.compile(policy, tune=tune)
        return time.perf_counter() - start

    short = min(taken(0.001) for _ in range(3))
    assert min(taken(20) for _ in range(5)) - short < 0.1


@pytest.mark.parametrize("isa", [ISAS[0], ISAS[-1]])
def test_tuning_takes_the_time_it_is_given(isa: str) -> None:
    """Whatever the number of layers and their size: on the plain instruction set one pass of the
    wide network through the widest regime takes longer than all of the budget."""
    deep = random_policy(RNG, (32, *[48] * 60, 4), 0.5)
    wide = random_policy(RNG, (348, 1024, 1024, 17), 0.5)
    for policy in (deep, wide):

        def taken(tune: float, policy: sa.SparsePolicy = policy) -> float:
            start = time.process_time()
            sa.compile(policy, isa=isa, tune=tune)
            return time.process_time() - start

        packing = min(taken(1e-6) for _ in range(3))
        untimed = min(taken(0) for _ in range(3))
        assert packing < 10 * untimed + 0.15
        assert min(taken(30) for _ in range(4)) - packing < 0.06
