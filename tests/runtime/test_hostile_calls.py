"""The core called directly, past the checks of the Python side: an error, never a crash.

What a file may hold is in `test_hostile_files.py`.
"""

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
)
FIELDS = LAYER.core_argument()
FILE = sa.SparsePolicy(sa.chain((LAYER,), sa.Observation((3,)))).to_bytes()


def arguments(**change: Any) -> list[Any]:
    """What `compile` hands to the core, but for `change`."""
    plain: dict[str, Any] = {
        "data": FILE,
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
@pytest.mark.parametrize("given", [(), (1,), (None,) * 7, (object(),) * 3])
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
        for given in ((), (1,), (None,) * 7):
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
        ({"data": b""}, "not a policy file: expected at least 8 bytes"),
        ({"data": FILE[:-1]}, "checksum: the file was altered or truncated"),
        ({"data": b"\xff" * 100}, "not a policy file, or truncated: its header has 1844674"),
        ({"isa": "sse9"}, "isa: .*sse9"),
        ({"format": "coo"}, "format: .*coo"),
        ({"threads": 0}, "threads: expected 1 to 64, got 0"),
        ({"threads": 65}, "threads: expected 1 to 64, got 65"),
        ({"tune": -1.0}, "tune: expected a time in ms, 0 or more"),
        ({"tune": np.nan}, "tune: expected a time in ms, 0 or more"),
        ({"tune": np.inf}, "tune: expected a time in ms, 0 or more"),
        ({"formats": [["csr"]], "ns": [np.inf]}, "^tune: expected a format"),
        ({"formats": [["csr"]], "ns": []}, "^tune: expected a format"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.Plan(*arguments(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"data": FILE.decode("latin-1")},
        {"data": bytearray(FILE)},
        {"data": [FIELDS]},
        {"isa": None},
        {"format": 3},
        {"threads": 2**40},
        {"threads": "1"},
        {"tune": "x"},
        {"formats": [[1]]},
        {"formats": "csr"},
        {"ns": [None]},
    ],
    ids=str,
)
def test_arguments_of_a_wrong_type_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        _core.Plan(*arguments(**change))


@pytest.mark.parametrize(
    ("inputs", "number", "message"),
    [
        ([], 0, "inputs: expected one array for each input"),
        ([np.ones((1, 3))] * 2, 0, "inputs: expected one array for each input"),
        ([np.ones((1, 3))], 1, "number: expected that of an output"),
        ([np.ones(3)], 0, r"inputs: observation: expected \[B, \*shape\], got float64 \[3\]"),
        ([np.ones((1, 4))], 0, "inputs: observation: expected"),
        ([np.ones(())], 0, "inputs: observation: expected"),
    ],
)
def test_the_reference_checks_its_inputs(inputs: Any, number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.reference(FILE, inputs, number)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([[*FIELDS]], r"layers\[0\]: expected a tuple of 9, got list"),
        ([FIELDS, FIELDS[:8]], r"layers\[1\]: expected a tuple of 9, got 8 entries"),
        ([None], r"layers\[0\]: expected a tuple of 9, got NoneType"),
        ([("2", *FIELDS[1:])], r"layers\[0\]: out: expected an int32"),
        ([(2**40, *FIELDS[1:])], r"layers\[0\]: out: expected an int32"),
        ([(*FIELDS[:3], "x", *FIELDS[4:])], r"layers\[0\]: indptr: expected an int32 array"),
        ([(*FIELDS[:5], object(), *FIELDS[6:])], r"layers\[0\]: values: expected a float32 array"),
        ([(*FIELDS[:7], 3, FIELDS[8])], r"layers\[0\]: activation: expected a str"),
        ([(*FIELDS[:8], "x")], r"layers\[0\]: alpha: expected a number"),
        (np.zeros(()), "layers: expected a list or a tuple, got .*ndarray"),
        (memoryview(b"abc"), "layers: expected a list or a tuple, got .*memoryview"),
        ("layers", "layers: expected a list or a tuple, got .*str"),
        (range(3), "layers: expected a list or a tuple, got .*range"),
    ],
    ids=str,
)
def test_layers_of_a_wrong_type_are_named(layers: Any, message: str) -> None:
    act = _core.Plan(*arguments())
    with pytest.raises(TypeError, match=message):
        act._update(layers)
    assert act(np.ones(3, np.float32)).tolist() == [3, 7]


EMPTY, NONE = np.zeros(0, np.int32), np.zeros(0, np.float32)
STRUCTURE = r"layers\[0\]: expected the structure this plan was compiled for"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: -1, 2: 1, 3: EMPTY, 4: EMPTY, 5: NONE, 6: NONE}, "expected positive sizes, got -1"),
        ({0: 0}, "layers: expected positive sizes, got 0 x 3 and 1 runs"),
        ({1: -3}, "layers: expected positive sizes, got 2 x -3 and 1 runs"),
        ({2: -1, 3: EMPTY}, "layers: expected positive sizes, got 2 x 3 and -1 runs"),
        ({0: 1 << 15, 1: 1 << 14}, "layers: expected at most 268435456 weights"),
        ({3: None}, "layers: expected arrays that fit the layer's shape"),
        ({4: FIELDS[4][:-1]}, "layers: expected arrays that fit the layer's shape"),
        ({6: np.zeros(3, np.float32)}, "layers: expected arrays that fit the layer's shape"),
        ({3: np.array([0, 2**31 - 1, 4], np.int32)}, STRUCTURE),
        ({3: np.array([0, -5, 4], np.int32)}, STRUCTURE),
        ({4: np.array([0, 2, 1, 1], np.int32)}, STRUCTURE),
        ({4: np.array([0, 2, 1, 2**31 - 1], np.int32)}, STRUCTURE),
        ({7: "relu"}, STRUCTURE),
        ({7: "swish"}, "activation: unknown 'swish'"),
        ({8: np.nan}, STRUCTURE),
        ({8: 1e300}, STRUCTURE),
        ({5: np.array([1, 2, np.nan, 4], np.float32)}, r"layers\[0\]: expected finite weights"),
        ({6: np.array([0, np.inf], np.float32)}, r"layers\[0\]: expected finite weights"),
    ],
    ids=str,
)
def test_updates_of_another_structure_are_refused(change: dict[int, Any], message: str) -> None:
    layer = tuple(change.get(place, given) for place, given in enumerate(FIELDS))
    act = _core.Plan(*arguments())
    for _ in range(2):  # before a first update, and after one
        with pytest.raises(ValueError, match=message):
            act._update([layer])
        assert act(np.ones(3, np.float32)).tolist() == [3, 7]
        act._update([FIELDS])
    with pytest.raises(ValueError, match="policy: expected 1 layers, got 2"):
        act._update([FIELDS, FIELDS])


def test_what_would_never_end_is_refused() -> None:
    act = _core.Plan(*arguments())
    for batch in (-1, 1 << 40):
        with pytest.raises(ValueError, match=f"batch: expected 0 to 16777216, got {batch}"):
            act._cuts(batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 0}, "lanes: expected 1 to 16"),
        ({"lanes": 17}, "lanes: expected 1 to 16"),
        ({"inputs": 4096, "lanes": 15}, "lanes: expected at least 16 for 4096 inputs, got 15"),
        ({"inputs": 0}, "expected the structure of a layer"),
        ({"runs": 0}, "expected the structure of a layer"),
        ({"runs": 65}, "expected the structure of a layer"),
        ({"runs": 3}, "expected the structure of a layer"),
        ({"indptr": EMPTY}, "expected the structure of a layer"),
        ({"indptr": np.zeros(1, np.int32)}, "expected the structure of a layer"),
        ({"indptr": np.array([0, 2, 5], np.int32)}, "expected the structure of a layer"),
        ({"indptr": np.array([0, 5, 4], np.int32)}, "expected indptr never to fall"),
        ({"indptr": np.array([1, 2, 4], np.int32)}, "expected indptr to start at 0"),
        ({"indices": np.array([0, 2, 1, 3], np.int32)}, r"expected indices in \[0, 3\), got 3"),
        ({"indices": np.array([0, -1, 1, 2], np.int32)}, r"expected indices in \[0, 3\), got -1"),
        ({"indices": np.array([0, 0, 1, 2], np.int32)}, "expected unique columns within a row"),
    ],
    ids=str,
)
def test_the_packer_refuses_what_is_no_structure(change: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {
        "inputs": 3,
        "runs": 1,
        "indptr": FIELDS[3],
        "indices": FIELDS[4],
        "lanes": 4,
        "free_rows": True,
    }
    assert len(_core.pack_for_lanes(**plain)) == 4
    with pytest.raises(ValueError, match=message):
        _core.pack_for_lanes(**{**plain, **change})


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
    policy = sa.SparsePolicy(sa.chain((*policy.layers, dense), step), policy.head)
    policy = policy.with_golden(RNG.normal(size=(4, 9)))
    copied = again(policy)
    assert len(arrays_of(copied)) == len(arrays_of(policy)) == 17
    for one, other in zip(arrays_of(policy), arrays_of(copied), strict=True):
        assert one.tobytes() == other.tobytes()
        assert not one.flags.writeable
        assert not other.flags.writeable
    assert sa.compile(copied, tune=0)(np.ones(9, np.float32)).shape == (3,)
