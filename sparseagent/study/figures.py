"""The figures of a study, from its groups of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparseagent.report import (
    ENOUGH_SEEDS,
    IntervalCurve,
    performance_profiles,
    profile_band,
    return_against_latency,
    return_against_nonzeros,
    return_against_sparsity,
)
from sparseagent.study.method import METHODS
from sparseagent.study.results import DENSE, TINY, Group, Place, normalised

_FIRST = (DENSE, "gmp", TINY)
_THRESHOLDS = 200


def draw_place(place: Place, folder: Path, stem: str) -> dict[str, Path]:
    """The figures of one environment by what they show: sparsity, weights and latency.

    Where only the dense agent has run there is nothing to compare, and no figure.
    """
    dense = place.find(DENSE)
    summary = None if dense is None else dense.summary
    pruned = [name for name in _present(place) if name not in (DENSE, TINY)]
    compared = [name for name in _present(place) if name != DENSE]
    if not compared:
        return {}
    few = min(len(group.rows) for group in place.groups) < ENOUGH_SEEDS
    ylabel = f"return (IQM, {'range of resamples' if few else '95 % interval'})"
    drawn = {
        "sparsity": return_against_sparsity(
            [_curve(place, name, lambda group: group.sparsity) for name in compared],
            folder / f"{stem}_sparsity.png",
            dense=summary,
            title=f"{place.title}: return against sparsity",
            ylabel=ylabel,
        )
    }
    if pruned:
        tiny = _curve(place, TINY, _kept) if TINY in compared else None
        drawn["weights"] = return_against_nonzeros(
            [_curve(place, name, _kept) for name in pruned],
            folder / f"{stem}_weights.png",
            tiny=tiny,
            dense=summary,
            title=f"{place.title}: return against weights",
            ylabel=ylabel,
        )
    drawn["latency"] = return_against_latency(
        [_curve(place, name, lambda g: g.median("latency_p50_ns")) for name in _present(place)],
        folder / f"{stem}_latency.png",
        title=f"{place.title}: return against latency",
        ylabel=ylabel,
    )
    return drawn


def draw_profiles(places: Sequence[Place], sparsity: float, path: Path) -> Path | None:
    """Performance profiles of all methods at one sparsity, over several environments.

    Scores are normalised: 0 for the random policy, 1 for the IQM of the dense agents. A method is
    drawn if it has runs in all of `places`; None where only the dense agent would be left.
    """
    scores = _scores(places, sparsity)
    if set(scores) <= {DENSE}:
        return None
    runs = np.concatenate([values for tasks in scores.values() for values in tasks.values()])
    margin = 0.1 * max(np.ptp(runs), 0.01)
    thresholds = np.linspace(runs.min() - margin, runs.max() + margin, _THRESHOLDS)
    profiles = {
        METHODS[name].label: profile_band(tasks, thresholds) for name, tasks in scores.items()
    }
    return performance_profiles(
        profiles,
        path,
        series=[_SERIES[name] for name in scores],
        title=f"Performance profiles, sparsity {sparsity:g}",
    )


def _scores(
    places: Sequence[Place], sparsity: float
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Method -> environment -> normalised returns, for methods with runs everywhere."""
    found: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name in _ordered(METHODS):
        level = sparsity if METHODS[name].has_sparsity else 0.0
        tasks = {}
        for place in places:
            group = place.find(name, level)
            values = None if group is None else normalised(place, group)
            if values is not None:
                tasks[place.title] = values
        if len(tasks) == len(places) and tasks:
            found[name] = tasks
    return found


def _curve(place: Place, name: str, where: Callable[[Group], float]) -> IntervalCurve:
    groups = sorted((g for g in place.groups if g.method.name == name), key=where)
    found = [group.summary for group in groups]
    return IntervalCurve(
        METHODS[name].label,
        [where(group) for group in groups],
        [e.value for e in found],
        # A percentile interval of few, skewed values need not hold the value itself.
        [min(e.low, e.value) for e in found],
        [max(e.high, e.value) for e in found],
        _SERIES[name],
    )


def _kept(group: Group) -> float:
    return group.mean("kept")


def _present(place: Place) -> list[str]:
    return _ordered({group.method.name for group in place.groups})


def _ordered(names: Iterable[str]) -> list[str]:
    """The baselines first."""
    found = set(names)
    return [*(name for name in _FIRST if name in found), *sorted(found - set(_FIRST))]


#: A method has one colour and marker in all figures.
_SERIES = {name: number for number, name in enumerate(_ordered(METHODS))}
