import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseagent.prune import Cubic, Geometric, OneShot


@pytest.mark.parametrize(
    ("progress", "sparsity"),
    [
        (0.0, 0.0),
        (0.2, 0.0),
        (0.35, 0.9 * (1 - 0.75**3)),
        (0.5, 0.9 * 0.875),
        (0.8, 0.9),
        (0.9, 0.9),
        (1.0, 0.9),
    ],
)
def test_cubic_values(progress, sparsity):
    assert Cubic(to=0.9, start=0.2, stop=0.8)(progress) == pytest.approx(sparsity, abs=1e-12)


def test_cubic_is_exact_outside_the_ramp():
    cubic = Cubic(to=0.95)
    assert cubic(0.0) == cubic(0.2) == 0.0
    assert cubic(0.8) == cubic(1.0) == 0.95
    assert Cubic(to=0.5, start=0.0, stop=1.0)(1.0) == 0.5


@pytest.mark.parametrize(("at", "before"), [(0.5, 0.49), (1.0, 0.999)])
def test_one_shot_prunes_at_once(at, before):
    shot = OneShot(to=0.8, at=at)
    assert shot(0.0) == shot(before) == 0.0
    assert shot(at) == shot(1.0) == 0.8


def test_one_shot_prunes_before_training_by_default():
    assert OneShot(to=0.8)(0.0) == 0.8


@given(
    to=st.floats(0, 0.999),
    ends=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True),
    points=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_schedules_never_fall_and_stay_in_range(to, ends, points):
    start, stop = sorted(ends)
    early, late = sorted(points)
    for schedule in (Cubic(to, start, stop), Geometric(to, start, stop), OneShot(to, start)):
        # Powers of neighbouring floats may differ in the last bit.
        assert 0.0 <= schedule(early) <= schedule(late) * (1 + 1e-12) <= to * (1 + 2e-12)
        assert schedule(1.0) == to


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Cubic(to=1.0), ValueError, r"to: expected a sparsity in \[0, 1\), got 1.0"),
        (lambda: Cubic(to=-0.1), ValueError, "to: expected a sparsity"),
        (lambda: Cubic(to=90), ValueError, "to: expected a sparsity"),
        (lambda: Cubic(to=float("nan")), ValueError, "to: expected a sparsity"),
        (lambda: Cubic(to="0.9"), TypeError, "to: expected a number, got str"),
        (lambda: Cubic(to=True), TypeError, "to: expected a number, got bool"),
        (lambda: Cubic(to=0.9, start=-0.1), ValueError, "start: expected a fraction"),
        (lambda: Cubic(to=0.9, stop=1.1), ValueError, "stop: expected a fraction"),
        (lambda: Cubic(to=0.9, start=0.8, stop=0.8), ValueError, "stop: expected more than start"),
        (lambda: OneShot(to=1.5), ValueError, "to: expected a sparsity"),
        (lambda: OneShot(to=0.5, at=2), ValueError, "at: expected a fraction"),
        (lambda: OneShot(to=0.5)(1.01), ValueError, "progress: expected a fraction"),
        (lambda: Cubic(to=0.5)(-0.01), ValueError, "progress: expected a fraction"),
        (lambda: Cubic(to=0.5)(None), TypeError, "progress: expected a number"),
    ],
)
def test_bad_arguments_raise(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_schedules_are_values():
    assert Cubic(to=0.9) == Cubic(to=0.9, start=0.2, stop=0.8)
    with pytest.raises(AttributeError):
        Cubic(to=0.9).to = 0.5
