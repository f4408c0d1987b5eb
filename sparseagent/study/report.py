"""The report of studies, written from the table of results and the studies' files alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparseagent.report import (
    aggregate,
    format_ns,
    format_number,
    in_words,
    markdown_table,
    percent,
)
from sparseagent.study.cells import Cell
from sparseagent.study.claims import claims_section
from sparseagent.study.config import Study
from sparseagent.study.figures import draw_place, draw_profiles
from sparseagent.study.method import METHODS
from sparseagent.study.results import (
    DENSE,
    TINY,
    Comparison,
    Group,
    Place,
    common_seeds,
    compare,
    load_places,
    normalised,
    share,
)
from sparseagent.study.verdicts import first_lines, place_lines
from sparseagent.train.records import write_text

_HEADER = (
    *("method", "sparsity", "seeds", "return (IQM)", "worst decile", "share of dense"),
    *("minus tiny", "P(beats tiny)", "weights", "effective", "one call", "training"),
)
_HOW_TO_READ = """\
- **return**: each agent plays its test episodes once, deterministically, through the compiled \
policy; a run's score is their mean. The number is the interquartile mean (IQM) of the scores over \
training seeds; with fewer than four seeds nothing is cut off, and it is their mean.
- **[a, b]**: the 95 % bootstrap interval over seeds (Agarwal et al., 2021). **(a to b)**: what \
the same resampling gives with fewer than five seeds. That is no interval to rely on: of "95 %" it \
covers about half with two seeds and three quarters with three.
- **worst decile**: mean return of the worst tenth of a run's episodes, averaged over seeds.
- **share of dense**: (return - random) / (dense - random), so that 100 % is the dense agent and 0 \
the random policy; IQM over the seeds that both have, redrawn in pairs.
- **minus tiny**: IQM over seeds of the differences, in pairs of one seed, to the tiny dense agent \
of the same sparsity: a network without zeros that has as many weights. Where a method kept more \
than it was asked to, the cell says how many times as many. **P(beats tiny)**: probability that a \
run is better than a run of it.
- **corrected (Holm)**: how many of all comparisons stand at a probability of 0.05 of one false \
claim or more. Their p-values come from flipping the signs of the paired differences; with n seeds \
none is below 2 / 2^n, so that of five seeds none can stand.
- **weights**: not zero, of the acting network, biases not counted. **effective**: on a path from \
an input to an output. Both are means over seeds.
- **one call**: median time of one call of the compiled policy for one observation, on one core, \
while other trainings may run beside it: good for comparing rows, not for quoting. The benchmarks \
measure latency under quiet conditions.
- **training**: processor seconds, mean over seeds."""


def write_report(
    studies: Sequence[Study],
    cells: Sequence[Cell],
    csv: Path,
    path: Path,
    files: Sequence[Path],
) -> None:
    """Draw the figures into `figures/` beside the report, and write it.

    Args:
        studies: what was planned.
        cells: all their cells.
        csv: the table of results.
        path: the Markdown file.
        files: the studies' files, for the command that goes on.
    """
    places = load_places(studies, cells, csv)
    begun = [place for place in places if place.groups]
    sections = [
        "# Results: pruned agents against dense ones\n",
        _introduction(places, csv, path, files),
        *([_bullets(first_lines(begun))] if begun else []),
        *(line for study in studies for line in claims_section(study, begun)),
        *(line for study in studies for line in _overview(study, begun, path)),
    ]
    for place in begun:
        sections += _place(place, path)
    sections += ["## How to read the tables\n", _HOW_TO_READ + "\n", *_settings(places)]
    write_text(path, "\n".join(section for section in sections if section))


def place_table(place: Place) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of an environment's table."""
    return list(_HEADER), [_row(place, group) for group in place.groups]


def _introduction(places: Sequence[Place], csv: Path, path: Path, files: Sequence[Path]) -> str:
    runs = sum(len(group.rows) for place in places for group in place.groups)
    planned = sum(len({cell.key for cell in place.cells}) for place in places)
    command = "sparseagent study " + " ".join(map(str, files))
    state = "All of them are done." if runs == planned else (
        "The others are not done yet; the column *seeds* says how many runs each line rests on. "
        f"They are made by `{command}`, which goes on where it was stopped."
    )  # fmt: skip
    table = os.path.relpath(csv, path.parent)
    return (
        f"{runs:,} of {planned:,} planned runs, each a training with a seed of its own. {state} "
        f"This page is written by `{command} --report` from [the table of all runs]({table}); "
        "nothing in it is edited by hand.\n"
    )


def _overview(study: Study, places: Sequence[Place], path: Path) -> list[str]:
    """The environments of a study together: aggregates and, for its baselines' sake, profiles."""
    core = [p for p in places if p.find(DENSE) and normalised(p, p.groups[0]) is not None]
    core = [p for p in core if any(cell.study == study.name for cell in p.cells)]
    if len(core) < 2:
        return []
    # Tasks weigh alike, and methods are compared, only over the same seeds everywhere.
    everywhere = _everywhere(core)
    seeds = set.intersection(
        *(set(group.returns) for p in core for group in p.groups if group.at in everywhere)
    )
    if not seeds:
        return []
    core = [p.only(seeds) for p in core]
    header = ["method", "sparsity", "runs", "IQM", "median", "mean", "optimality gap"]
    rows = [_overview_row(core, method, sparsity) for method, sparsity in everywhere]
    sections = [
        f"## All environments of {study.name} together\n",
        f"Normalised returns in {'; '.join(place.title for place in core)}: 0 is the random "
        "policy, 1 the IQM of the dense agents. Methods that ran in all of them, over the "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)} that all of these have.\n",
        markdown_table(header, rows, align=["left", *["right"] * 6]),  # type: ignore[list-item]
    ]
    if DENSE not in study.variants:
        return sections  # a list of methods too long for one figure
    levels = sorted({g.sparsity for p in core for g in p.groups if g.method.has_sparsity})
    for level in levels:
        figure = path.parent / "figures" / f"study_profiles_{study.name}_{level:g}.png"
        if draw_profiles(core, level, figure):
            sections.append(f"![Profiles at {level:g}](figures/{figure.name})\n")
    return sections


def _overview_row(places: Sequence[Place], method: str, sparsity: float) -> list[Any]:
    groups = [(place, place.find(method, sparsity)) for place in places]
    scores = {p.title: normalised(p, group) for p, group in groups if group is not None}
    counts = [len(group.rows) for _, group in groups if group is not None]
    found = aggregate(scores)  # type: ignore[arg-type]
    values = (found.iqm, found.median, found.mean, found.optimality_gap)
    level = f"{sparsity:g}" if METHODS[method].has_sparsity else None
    words = [in_words(value, min(counts)) for value in values]
    return [METHODS[method].label, level, sum(counts), *words]


def _everywhere(places: Sequence[Place]) -> list[tuple[str, float]]:
    return [
        group.at for group in places[0].groups if all(place.find(*group.at) for place in places)
    ]


def _place(place: Place, path: Path) -> list[str]:
    stem = "study_" + "".join(c if c.isalnum() else "_" for c in f"{place.env}_{place.algo}")
    figures = draw_place(place, path.parent / "figures", stem.lower())
    align = ["left", *["right"] * (len(_HEADER) - 1)]
    missing = ", ".join(
        cell.method.label + (f" {cell.sparsity:g}" if cell.method.has_sparsity else "")
        for cell in place.missing
    )
    return [
        f"## {place.title}\n",
        _bullets(place_lines(place)),
        markdown_table(*place_table(place), align=align),  # type: ignore[arg-type]
        f"Random policy: {format_number(place.random)}. Whole network: "
        f"{int(place.groups[0].rows[0]['full']):,} weights."
        + (f" Without a single run so far: {missing}." if missing else "")
        + _resumed(place)
        + "\n",
        *(
            f"![{place.title}: return against {what}](figures/{file.name})\n"
            for what, file in figures.items()
        ),
    ]


def _resumed(place: Place) -> str:
    """A note on runs that were broken off and could not go on exactly."""
    found = [
        f"{group.label} (seed {row['seed']})"
        for group in place.groups
        for row in group.rows
        if row["resumed"] == "True"
    ]
    if not found:
        return ""
    return (
        " Resumed from a checkpoint that could not hold the whole state of the training, so that "
        f"a run without a break gives other numbers: {', '.join(found)}."
    )


def _row(place: Place, group: Group) -> list[Any]:
    dense, tiny = place.find(DENSE), place.find(TINY, group.sparsity)
    is_pruned = group.method.name not in (DENSE, TINY)
    against = compare(group, tiny) if is_pruned else None
    kept = share(group, dense, place.random) if group.method.name != DENSE else None
    with_dense = 0 if dense is None else len(common_seeds(group, dense))
    return [
        group.label.rsplit(" ", 1)[0] if group.method.has_sparsity else group.label,
        f"{group.sparsity:g}" if group.method.has_sparsity else None,
        f"{len(group.rows)} of {group.planned}",
        group.text,
        format_number(group.mean("worst_decile")),
        None if kept is None else in_words(kept, with_dense, percent),
        None if against is None else _signed(against),
        None if against is None else f"{against.better:.2f}",
        f"{group.mean('kept'):,.0f}",
        f"{group.mean('effective'):,.0f}",
        format_ns(group.median("latency_p50_ns")),
        f"{group.mean('seconds'):.0f} s",
    ]


def _settings(places: Sequence[Place]) -> list[str]:
    """How each environment was trained: the settings that all its methods share."""
    rows = []
    for place in places:
        dense = next((c for c in place.cells if c.method.name == DENSE), place.cells[0])
        config = asdict(dense.config)
        hyperparameters = ", ".join(f"{k} {v}" for k, v in config["hyperparameters"].items())
        rows.append(
            [
                place.title,
                f"{config['total_timesteps']:,}",
                config["n_envs"],
                "-".join(map(str, config["net_arch"])),
                "yes" if config["normalize"] else "no",
                f"{config['prune_start']:g} to {config['prune_stop']:g}",
                hyperparameters or "the library's defaults",
            ]
        )
    header = ["", "steps", "environments", "hidden layers", "normalised", "ramp", "hyperparameters"]
    return [
        "## Settings\n",
        "The same for all methods of an environment. *ramp*: between which shares of the training "
        "gradual methods prune; afterwards the masks are final. *normalised*: observations and "
        "rewards, frozen for the test.\n",
        markdown_table(header, rows),
    ]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _signed(against: Comparison) -> str:
    plus = "+" if against.difference.value > 0 else ""
    more = "" if against.same_size else f", {against.size:.1f}x the weights"
    return plus + in_words(against.difference, against.seeds) + more
