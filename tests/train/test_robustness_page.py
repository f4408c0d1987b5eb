"""The page of a robustness table: what it says of agents whose returns are known."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from sparseagent.robustness import RobustnessRow
from sparseagent.train.records import write_rows
from sparseagent.train.robustness_files import ROBUSTNESS_COLUMNS
from sparseagent.train.robustness_page import write_robustness_page

LEVELS = ((0.0, False), (1.0, True), (2.0, True))
DENSE = {0.0: (100, 90, 110, 80, 200), 1.0: (10, 20, 30, 40, 50), 2.0: (5, 5, 5, 5, 5)}
#: Above dense at 1 in each pair by 5 to 9, below at 2 by 1 to 2, at 0 now above and now below.
PRUNED = {0.0: (101, 80, 120, 70, 210), 1.0: (15, 26, 37, 48, 59), 2.0: (4, 3, 4, 3, 4)}


def row(agent: str, seed: object, level: float, disturbed: bool, mean: float) -> dict[str, object]:
    filled = dict.fromkeys((field.name for field in fields(RobustnessRow)), 0.0)
    return filled | {
        **{"policy": f"{agent}{seed}", "agent": agent, "training_seed": seed},
        **{"environment": "Test-v0", "disturbance": "wind", "episodes": 7, "seed": 0},
        **{"level": level, "disturbed": disturbed, "mean": float(mean)},
    }


def page_of(tmp_path, agents, seeds) -> str:
    rows = [
        row(agent, seed, level, disturbed, returns[level][place])
        for agent, returns in agents.items()
        for place, seed in enumerate(seeds)
        for level, disturbed in LEVELS
    ]
    table, page = tmp_path / "raw" / "table.csv", tmp_path / "page.md"
    write_rows(table, ROBUSTNESS_COLUMNS, rows)
    write_robustness_page(table, page, tmp_path / "raw" / "plot.png")
    return page.read_text()


def test_pairs_of_seeds_say_where_agents_differ(tmp_path):
    text = page_of(tmp_path, {"dense": DENSE, "pruned": PRUNED}, range(5))
    assert "# Robustness in Test-v0" in text
    assert "dense (training seeds 0, 1, 2, 3, 4), pruned (training seeds 0, 1, 2, 3, 4)" in text
    assert "7 episodes for each policy" in text
    (line,) = [line for line in text.splitlines() if line.startswith("- **pruned** against dense")]
    # IQM of 5, 6, 7, 8, 9 is 7; of -1, -2, -1, -2, -1 it is -4/3.
    assert "(5 seeds): above under wind 1 (7 [" in line
    assert "below under wind 2 (-1.33 [" in line
    assert line.endswith("not told apart under 1 of 3 levels.")
    assert re.search(r"\| undisturbed \| +100 \[.*\| +100 \[", text)
    assert "(raw/table.csv)" in text
    assert "(raw/plot.png)" in text


def test_undisturbed_counts_once(tmp_path):
    rows = [row("a", 0, 0.0, False, 5), row("a", 0, 1.0, True, 4)]
    rows += [r | {"disturbance": "gravity", "level": r["level"] + 1} for r in rows]
    write_rows(tmp_path / "t.csv", ROBUSTNESS_COLUMNS, rows)
    write_robustness_page(tmp_path / "t.csv", tmp_path / "p.md", tmp_path / "p.png")
    table = [line for line in (tmp_path / "p.md").read_text().splitlines() if line[:1] == "|"]
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "undisturbed",
        "wind 1",
        "gravity 2",
    ]


def test_few_seeds_tell_nothing(tmp_path):
    text = page_of(tmp_path, {"dense": DENSE, "pruned": PRUNED}, range(4))
    assert "(4 seeds): not told apart under 3 of 3 levels (too few seeds)." in text
    assert "above" not in text.split("## How")[0]


def test_policies_that_do_not_tell_their_seed_are_pairs_of_one(tmp_path):
    text = page_of(tmp_path, {"a": DENSE, "b": PRUNED}, [""])
    assert "a (one policy), b (one policy)" in text
    assert "- **b** against a (1 seed): not told apart under 3 of 3 levels (too few seeds)." in text
    assert "| undisturbed | 100 | 101 |" in text
    assert "| wind 1      |  10 |  15 |" in text


def test_agents_without_a_common_seed_are_not_compared(tmp_path):
    rows = [row("a", 0, 1.0, True, 5), row("b", 1, 1.0, True, 6)]
    write_rows(tmp_path / "t.csv", ROBUSTNESS_COLUMNS, rows)
    write_robustness_page(tmp_path / "t.csv", tmp_path / "p.md", tmp_path / "p.png")
    assert "against" not in (tmp_path / "p.md").read_text().split("## How")[0]


def test_an_empty_table_is_refused(tmp_path):
    write_rows(tmp_path / "t.csv", ROBUSTNESS_COLUMNS, [])
    with pytest.raises(ValueError, match=r"expected at least one row in .*t\.csv, got none"):
        write_robustness_page(tmp_path / "t.csv", tmp_path / "p.md", tmp_path / "p.png")
