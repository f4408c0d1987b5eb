"""The search for the sparsest agent, on agents whose best sparsity is known."""

import math
import subprocess
import sys

import pytest

from sparseagent.train.search import (
    Candidate,
    Choice,
    SearchResult,
    SearchSpace,
    check_search,
    find_sparsest,
)

ACTOR = SearchSpace(actor_density=(0.02, 0.5))
BOTH = SearchSpace((0.02, 0.5), (0.1, 1.0), actor_share=0.5)


def agent(choice):
    """Full return up to an actor sparsity of 0.9 with ERK and 0.8 else; a sparse critic costs."""
    knee = 0.9 if choice.allocation == "erk" else 0.8
    critic = choice.critic_sparsity or 0.0
    iqm = 500.0 - 2000.0 * max(0.0, choice.actor_sparsity - knee)
    return iqm - 500.0 * max(0.0, critic - 0.5), 10.0 * (1.1 - choice.actor_sparsity)


def test_it_finds_the_knee(tmp_path):
    result = find_sparsest(
        agent, dense_iqm=500.0, trials=60, storage=tmp_path / "s.db", space=ACTOR
    )
    assert result.threshold == pytest.approx(485.0)
    assert len(result.candidates) == 60
    # A loss of 3 % is at 0.9075.
    assert 0.88 < result.best.sparsity <= 0.9075
    assert result.best.choice.allocation == "erk"
    assert result.best.choice.critic_sparsity is None
    assert result.best.iqm >= 485.0
    for candidate in result.candidates:
        assert (candidate.iqm, candidate.latency) == agent(candidate.choice)
        assert candidate.good_enough == (candidate.iqm >= 485.0)
        assert 0.5 <= candidate.choice.actor_sparsity <= 0.98


def test_the_later_candidates_are_better_than_the_first(tmp_path):
    result = find_sparsest(
        agent, dense_iqm=500.0, trials=60, storage=tmp_path / "s.db", space=ACTOR
    )
    good = [candidate.good_enough and candidate.sparsity > 0.85 for candidate in result.candidates]
    assert sum(good[30:]) > 2 * sum(good[:15])


def test_actor_and_critic_count_as_asked(tmp_path):
    result = find_sparsest(agent, dense_iqm=500.0, trials=15, storage=tmp_path / "s.db", space=BOTH)
    for candidate in result.candidates:
        choice = candidate.choice
        assert 0.0 <= choice.critic_sparsity <= 0.9
        mean = (choice.actor_sparsity + choice.critic_sparsity) / 2
        assert candidate.sparsity == pytest.approx(mean)


def test_an_interrupted_search_goes_on_as_the_unbroken_one(tmp_path):
    calls = []

    def interrupted(choice):
        calls.append(choice)
        if len(calls) == 14:
            raise KeyboardInterrupt
        return agent(choice)

    options = {"dense_iqm": 500.0, "trials": 25, "space": ACTOR, "seed": 3}
    whole = find_sparsest(agent, storage=tmp_path / "whole.db", **options)
    with pytest.raises(KeyboardInterrupt):
        find_sparsest(interrupted, storage=tmp_path / "broken.db", **options)
    resumed = find_sparsest(interrupted, storage=tmp_path / "broken.db", **options)
    assert resumed == whole
    # 13 before the interrupt, the interrupted one twice, 11 after it.
    assert len(calls) == 26
    assert find_sparsest(interrupted, storage=tmp_path / "broken.db", **options) == whole
    assert len(calls) == 26


def test_a_killed_candidate_is_drawn_again(tmp_path):
    code = (
        "import os\n"
        "from sparseagent.train.search import find_sparsest\n"
        "n = 0\n"
        "def evaluate(choice):\n"
        "    global n\n"
        "    n += 1\n"
        "    if n == 3: os._exit(9)\n"
        "    return 1.0, choice.actor_sparsity\n"
        f"find_sparsest(evaluate, dense_iqm=1.0, trials=5, storage={str(tmp_path / 's.db')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9

    def evaluate(choice):
        return 1.0, choice.actor_sparsity

    resumed = find_sparsest(evaluate, dense_iqm=1.0, trials=5, storage=tmp_path / "s.db")
    whole = find_sparsest(evaluate, dense_iqm=1.0, trials=5, storage=tmp_path / "w.db")
    assert resumed == whole


def test_more_trials_extend_a_search(tmp_path):
    few = find_sparsest(agent, dense_iqm=500.0, trials=5, storage=tmp_path / "s.db")
    more = find_sparsest(agent, dense_iqm=500.0, trials=8, storage=tmp_path / "s.db")
    assert more.candidates[:5] == few.candidates
    assert len(more.candidates) == 8


def test_seeds_differ(tmp_path):
    first, second = (
        find_sparsest(agent, dense_iqm=1.0, trials=2, storage=tmp_path / f"{seed}.db", seed=seed)
        for seed in (0, 100)
    )
    assert first.candidates != second.candidates


def test_other_arguments_are_not_mixed(tmp_path):
    find_sparsest(agent, dense_iqm=500.0, trials=1, storage=tmp_path / "s.db")
    with pytest.raises(ValueError, match=r"storage: expected a search with .* give another name"):
        find_sparsest(agent, dense_iqm=400.0, trials=2, storage=tmp_path / "s.db")
    find_sparsest(agent, dense_iqm=400.0, trials=1, storage=tmp_path / "s.db", name="other")


def candidate(sparsity, latency, good=True):
    return Candidate(Choice(sparsity, None, "erk"), sparsity, 1.0, latency, good)


def test_best_and_front_by_hand():
    sparse, fast, equal = candidate(0.9, 3.0), candidate(0.7, 1.0), candidate(0.9, 2.0)
    worse, bad = candidate(0.6, 2.0), candidate(0.99, 0.5, good=False)
    result = SearchResult(1.0, (worse, sparse, bad, fast, equal))
    assert result.best is equal
    assert result.front == (equal, fast)
    nothing = SearchResult(1.0, (bad,))
    assert nothing.best is None
    assert nothing.front == ()


def test_a_negative_return_may_fall_by_as_much(tmp_path):
    result = find_sparsest(
        lambda choice: (-102.0, 1.0), dense_iqm=-100.0, trials=1, storage=tmp_path / "s.db"
    )
    assert result.threshold == pytest.approx(-103.0)
    assert result.best is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials: expected an int of at least 1, got 0"),
        ({"trials": 1.5}, "trials: expected an int"),
        ({"share": 0.0}, "share: expected a share in"),
        ({"dense_iqm": float("nan")}, "dense_iqm: expected a finite number"),
    ],
)
def test_bad_arguments_raise(options, message, tmp_path):
    given = {"dense_iqm": 1.0, "trials": 1, **options}
    with pytest.raises(ValueError, match=message):
        find_sparsest(agent, storage=tmp_path / "s.db", **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actor_density": (0.5, 0.1)}, "actor_density: expected 0 < lowest < highest <= 1"),
        ({"critic_density": (0.0, 1.0)}, "critic_density: expected 0 < lowest"),
        ({"allocations": ("even",)}, "allocations: expected names among erk"),
        ({"allocations": ()}, "allocations: expected names among"),
        ({"actor_share": 2.0}, "actor_share: expected a share"),
        ({"actor_share": 0.5}, "actor_share: expected 1 where no critic is searched"),
    ],
)
def test_a_bad_space_raises(options, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(**options)


def test_a_choice_that_makes_no_agent_counts_as_tested(tmp_path):
    def evaluate(choice):
        return None if choice.allocation == "erk" else agent(choice)

    options = {"dense_iqm": 500.0, "trials": 12, "storage": tmp_path / "s.db", "space": ACTOR}
    result = find_sparsest(evaluate, **options)
    impossible = [c for c in result.candidates if c.choice.allocation == "erk"]
    assert len(result.candidates) == 12
    assert impossible
    assert not any(c.good_enough for c in impossible)
    assert {(c.iqm, c.latency) for c in impossible} == {(-math.inf, math.inf)}
    assert result.best.choice.allocation != "erk"
    assert find_sparsest(evaluate, **options) == result


def test_a_missing_optuna_is_named_first(monkeypatch):
    check_search(1, 1.0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"search: expected Optuna \(pip install 'sparseagent\["):
        check_search(1, 1.0)


def test_a_number_that_is_not_finite_is_named(tmp_path):
    with pytest.raises(ValueError, match="evaluate: expected a finite IQM and latency for Choice"):
        find_sparsest(
            lambda choice: (float("nan"), 1.0),
            dense_iqm=1.0,
            trials=1,
            storage=tmp_path / "s.db",
        )
