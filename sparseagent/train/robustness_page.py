"""The page that says what a table of robustness shows: each level, and which agents differ."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from sparseagent.report import (
    Estimate,
    Outcome,
    estimate,
    in_words,
    markdown_table,
    outcome_of,
    paired_differences,
)
from sparseagent.train.records import write_text
from sparseagent.train.robustness_files import read_robustness

_UNDISTURBED = "undisturbed"
Row = Mapping[str, str]
Returns = dict[str, float]
"""Mean return of each training seed; a policy that does not tell its seed has the seed ""."""

_HOW_TO_READ = """\
- Every policy plays the same episodes under the same noise at each level, through the compiled \
policy. A noise of 1 is the standard deviation of each entry of the observations, over the \
observations of all policies; a level of wind is a share of its usual power, any other a factor \
on the usual value.
- The numbers are interquartile means over training seeds of mean returns. **[a, b]** is their \
95 % bootstrap interval over seeds, **(a to b)** what the same resampling gives with fewer than \
five seeds, which is no interval to rely on.
- *Above* and *below* go by the interval of differences in pairs of one training seed. Nothing is \
corrected for the number of comparisons: of those without a difference, one in twenty or more \
will seem to have one."""


class _Level(NamedTuple):
    """One level of one disturbance: the returns of each agent."""

    name: str
    agents: dict[str, Returns]


def write_robustness_page(table: Path, page: Path, picture: Path) -> None:
    """Write the Markdown page of a table of `measure_files`.

    Args:
        table: the CSV.
        page: the page to write; links are relative to it.
        picture: the plot of the same table (`draw_robustness`).

    Raises:
        ValueError: as `read_robustness`.
    """
    rows = read_robustness(table)
    levels = _levels(rows)
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    verdicts = [line for pair in combinations(agents, 2) for line in _verdict(*pair, levels)]
    sections = [
        f"# Robustness in {rows[0]['environment']}: returns under disturbances\n",
        f"{_who(levels[0], agents)}; {int(rows[0]['episodes']):,} episodes for each policy and "
        f"level. Written by `sparseagent robustness` from [the table of all policies and levels]"
        f"({_link(table, page)}); nothing in it is edited by hand.\n",
        "\n".join(verdicts) + "\n" if verdicts else "",
        f"![Return under disturbances]({_link(picture, page)})\n",
        _table(levels, agents),
        "## How to read it\n",
        _HOW_TO_READ + "\n",
    ]
    write_text(page, "\n".join(section for section in sections if section))


def _levels(rows: Sequence[Row]) -> list[_Level]:
    """Undisturbed, which is in each disturbance, then the levels in the order of the table."""
    found = {_UNDISTURBED: _Level(_UNDISTURBED, {})}
    for row in rows:
        is_level = row["disturbed"] == "True"
        name = f"{row['disturbance']} {float(row['level']):g}" if is_level else _UNDISTURBED
        level = found.setdefault(name, _Level(name, {}))
        level.agents.setdefault(row["agent"], {})[row["training_seed"]] = float(row["mean"])
    return [level for level in found.values() if level.agents]


def _who(level: _Level, agents: Sequence[str]) -> str:
    return ", ".join(f"{name} ({_seeds(level.agents[name])})" for name in agents)


def _seeds(returns: Returns) -> str:
    names = [seed for seed in returns if seed]
    if not names:
        return "one policy"
    return f"training seed{'s' * (len(names) > 1)} {', '.join(names)}"


def _verdict(earlier: str, later: str, levels: Sequence[_Level]) -> Iterator[str]:
    """Where the later agent is above and below the earlier one; nothing without common seeds."""
    by_outcome: dict[Outcome, list[str]] = {}
    counts = set()
    for level, difference, seeds in _differences(earlier, later, levels):
        counts.add(seeds)
        number = in_words(difference, seeds)
        by_outcome.setdefault(outcome_of(difference, seeds), []).append(f"{level.name} ({number})")
    if not counts:
        return
    parts = [
        f"{outcome.value} under {', '.join(by_outcome[outcome])}"
        for outcome in (Outcome.ABOVE, Outcome.BELOW)
        if outcome in by_outcome
    ]
    if rest := sum(map(len, by_outcome.values())) - sum(
        len(by_outcome.get(outcome, ())) for outcome in (Outcome.ABOVE, Outcome.BELOW)
    ):
        few = " (too few seeds)" if Outcome.FEW in by_outcome else ""
        parts.append(f"not told apart under {rest} of {len(levels)} levels{few}")
    seeds = max(counts)
    yield f"- **{later}** against {earlier} ({seeds} seed{'s' * (seeds > 1)}): {'; '.join(parts)}."


def _differences(
    earlier: str, later: str, levels: Sequence[_Level]
) -> Iterator[tuple[_Level, Estimate, int]]:
    """The difference at each level over the training seeds that both have."""
    for level in levels:
        first, second = level.agents[earlier], level.agents[later]
        common = [seed for seed in first if seed in second]
        if common:
            pairs = paired_differences(*({s: r[s] for s in common} for r in (second, first)))
            yield level, estimate(pairs), len(common)


def _table(levels: Sequence[_Level], agents: Sequence[str]) -> str:
    rows = []
    for level in levels:
        returns = [list(level.agents[agent].values()) for agent in agents]
        rows.append([level.name, *(in_words(estimate(values), len(values)) for values in returns)])
    return markdown_table(["", *agents], rows, align=["left", *["right"] * len(agents)])  # type: ignore[list-item]


def _link(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()
