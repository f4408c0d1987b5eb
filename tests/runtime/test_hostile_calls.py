"""The core called directly, past the checks of the Python side: an error, never a crash."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_policy

import sparseagent as sa
from sparseagent import _core

RNG = np.random.default_rng(3)
CLASSES = [kind for _, kind in inspect.getmembers(_core, inspect.isclass)]
LAYER = sa.Layer(
    sa.CSR.from_dense(np.array([[1, 0, 2], [3, 4, 0]], np.float32)), np.zeros(2, np.float32)
).core_argument()
FIELDS = ("out", "in", "runs", "indptr", "indices", "values", "bias", "activation", "alpha")


def arguments(**change: Any) -> list[Any]:
    """What `compile` hands to the core, but for `change`; a field of the layer is changed in it."""
    layer = [change.pop(name, given) for name, given in zip(FIELDS, LAYER, strict=True)]
    plain: dict[str, Any] = {
        "layers": [tuple(layer)],
        "size": 3,
        "shape": [3],
        "shift": None,
        "scale": None,
        "low": -np.inf,
        "high": np.inf,
        "head": "raw",
        "head_low": None,
        "head_high": None,
        "action_shape": [2],
        "isa": "",
        "format": "",
        "threads": 1,
        "tune": 0.0,
        "formats": [],
        "ns": [],
    }
    assert set(change) <= set(plain)
    return [*{**plain, **change}.values()]


def test_the_arguments_make_a_plan() -> None:
    act = _core.Plan(*arguments())
    assert act(np.ones(3, np.float32)).tolist() == [3, 7]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("given", [(), (1,), (None,) * 17, (object(),) * 3])
def test_nothing_half_made_comes_out_of_new(kind: type, given: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        kind.__new__(kind, *given)


LEAKED = """
import inspect, sys
import numpy as np
from sparseagent import _core

for name, kind in inspect.getmembers(_core, inspect.isclass):
    class Careless(kind):
        def __init__(self, *given):
            leaked.append(self)
            raise ZeroDivisionError

    class Forgetful(kind):
        def __init__(self, *given):
            leaked.append(self)

    for careless in (Careless, Forgetful, kind):
        for given in ((), (1,), (None,) * 17):
            leaked = []
            try:
                leaked.append(careless.__new__(careless, *given))
            except TypeError:
                pass
            try:
                leaked.append(careless(*given))
            except (TypeError, ZeroDivisionError):
                pass
            for made in leaked:
                for attribute in dir(kind):
                    if attribute.startswith("__") and attribute != "__call__":
                        continue
                    for call in ((), (np.ones(3, np.float32),), (1,), (np.ones(3, np.float32), 1)):
                        try:
                            getattr(made, attribute)(*call)
                        except Exception:
                            pass
"""


def test_a_class_whose_constructor_fails_cannot_crash() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAKED],
        check=False,
        capture_output=True,
        cwd=Path(sa.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_constructor_that_fails_after_new_leaves_a_whole_plan() -> None:
    leaked: list[Any] = []

    class Careless(_core.Plan):
        def __init__(self, *given: Any) -> None:
            leaked.append(self)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Careless(*arguments())
    assert leaked[0](np.ones(3, np.float32)).tolist() == [3, 7]
    assert leaked[0].threads == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"indices": np.array([0, 2, 1, 1], np.int32)},
            r"layers\[0\]: indices: expected unique columns within a row, got a repeated one",
        ),
        ({"alpha": np.nan}, r"layers\[0\]: alpha: expected a finite number, got nan"),
        ({"alpha": 1e300}, r"layers\[0\]: alpha: expected a finite number, got inf"),
        ({"scale": np.array([1, 0, 1.0])}, "^scale: expected positive numbers, got 0 or less"),
        ({"scale": np.array([1, np.nan, 1])}, "^scale: expected finite numbers, got Inf or NaN"),
        ({"scale": np.array([1, np.inf, 1])}, "^scale: expected finite numbers, got Inf or NaN"),
        ({"shift": np.array([1, np.nan, 1])}, "^shift: expected finite numbers, got Inf or NaN"),
        ({"shift": np.array([-np.inf, 0, 1])}, "^shift: expected finite numbers, got Inf or NaN"),
        ({"shift": np.zeros(2)}, "^shift: expected 3 numbers, got 2"),
        ({"low": 2.0, "high": 1.0}, "^low, high: expected low < high, got 2 and 1"),
        ({"low": 1.0, "high": 1.0}, "^low, high: expected low < high, got 1 and 1"),
        ({"low": np.nan}, "^low, high: expected low < high, got nan and inf"),
        (
            {
                "head": "clip",
                "head_low": np.array([0, 2], np.float32),
                "head_high": np.ones(2, np.float32),
            },
            r"^low, high: expected low <= high, got 2 and 1",
        ),
        (
            {
                "head": "clip",
                "head_low": np.array([0, np.nan], np.float32),
                "head_high": np.ones(2, np.float32),
            },
            r"^low, high: expected low <= high, got nan and 1",
        ),
        (
            {
                "head": "unscale",
                "head_low": np.zeros(2, np.float32),
                "head_high": np.array([1, np.inf], np.float32),
            },
            "^box: expected finite bounds to stretch to, got Inf",
        ),
        (
            {
                "head": "clip",
                "head_low": np.zeros(3, np.float32),
                "head_high": np.ones(3, np.float32),
            },
            "^head: expected bounds for 2 outputs, got 3",
        ),
        ({"formats": [["csr"]], "ns": [np.inf]}, "^tune: expected a format"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.Plan(*arguments(**change))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([[*LAYER]], r"layers\[0\]: expected a tuple of 9, got list"),
        ([LAYER, LAYER[:8]], r"layers\[1\]: expected a tuple of 9, got 8 entries"),
        ([None], r"layers\[0\]: expected a tuple of 9, got NoneType"),
        ([("2", *LAYER[1:])], r"layers\[0\]: out: expected an int32"),
        ([(2**40, *LAYER[1:])], r"layers\[0\]: out: expected an int32"),
        ([(*LAYER[:3], "x", *LAYER[4:])], r"layers\[0\]: indptr: expected an int32 array"),
        ([(*LAYER[:5], object(), *LAYER[6:])], r"layers\[0\]: values: expected a float32 array"),
        ([(*LAYER[:7], 3, LAYER[8])], r"layers\[0\]: activation: expected a str"),
        ([(*LAYER[:8], "x")], r"layers\[0\]: alpha: expected a number"),
    ],
)
def test_layers_of_a_wrong_type_are_named(layers: list[Any], message: str) -> None:
    for call in (
        lambda: _core.Plan(*arguments(layers=layers)),
        lambda: _core.reference(layers, np.ones((1, 3), np.float32)),
        lambda: _core.Plan(*arguments())._update(layers),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_a_layer_has_no_more_weights_than_offsets_can_number() -> None:
    wide = np.broadcast_to(np.float32(0), (1 << 15, 1 << 14))
    layer = (1 << 15, 1 << 14, 1, None, None, wide[:1], np.zeros(1 << 15, np.float32), "relu", 0.0)
    with pytest.raises(ValueError, match=r"layers: expected at most 268435456 weights"):
        _core.Plan(*arguments(layers=[layer], size=1 << 14))


def test_what_would_never_end_is_refused() -> None:
    act = _core.Plan(*arguments())
    for batch in (-1, 1 << 40):
        with pytest.raises(ValueError, match=f"batch: expected 0 to 16777216, got {batch}"):
            act._cuts(batch)
    layer = (1, 1 << 12, 1, None, None, np.ones(1 << 12, np.float32), *LAYER[6:])
    layer = (*layer[:6], np.zeros(1, np.float32), *LAYER[7:])
    with pytest.raises(ValueError, match="lanes: expected at least 16 for 4096 inputs, got 15"):
        _core.pack_for_lanes([layer], 15, free_rows=False)


def arrays_of(thing: Any) -> list[np.ndarray[Any, Any]]:
    """All arrays within a policy."""
    if isinstance(thing, np.ndarray):
        return [thing]
    parts = thing if isinstance(thing, tuple) else getattr(thing, "__dict__", {}).values()
    return [array for part in parts for array in arrays_of(part)]


@pytest.mark.parametrize(
    "again", [lambda p: pickle.loads(pickle.dumps(p)), copy.copy, copy.deepcopy], ids=str
)
def test_copies_of_a_policy_are_read_only(again: Any) -> None:
    step = sa.Observation.normalise(np.zeros(9), np.ones(9), eps=1e-8, clip=5)
    policy = random_policy(RNG, (9, 7, 3), 0.5, observation=step, head=sa.clip_to([0] * 3, [1] * 3))
    dense = sa.Layer(np.ones((3, 3), np.float32), np.zeros(3, np.float32))
    policy = sa.SparsePolicy((*policy.layers, dense), step, policy.head)
    policy = policy.with_golden(RNG.normal(size=(4, 9)))
    copied = again(policy)
    assert len(arrays_of(copied)) == len(arrays_of(policy)) == 17
    for one, other in zip(arrays_of(policy), arrays_of(copied), strict=True):
        assert one.tobytes() == other.tobytes()
        assert not one.flags.writeable
        assert not other.flags.writeable
    assert sa.compile(copied, tune=0)(np.ones(9, np.float32)).shape == (3,)


@pytest.mark.parametrize("given", [np.zeros(()), memoryview(b"abc"), "layers", range(3)], ids=str)
def test_layers_come_in_a_list_or_a_tuple(given: Any) -> None:
    name = type(given).__name__
    for call in (
        lambda: _core.Plan(*arguments(layers=given)),
        lambda: _core.Plan(*arguments())._update(given),
        lambda: _core.reference(given, np.ones((1, 3), np.float32)),
        lambda: _core.pack_for_lanes(given, 4, free_rows=True),
    ):
        with pytest.raises(TypeError, match=f"layers: expected a list or a tuple, got .*{name}"):
            call()
