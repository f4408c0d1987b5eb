"""Numbers of a report, against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparseagent.report import ENOUGH_SEEDS, estimate, iqm
from sparseagent.study.config import parse_study
from sparseagent.study.report import place_table, write_report
from sparseagent.study.results import compare, load_places, normalised, share
from sparseagent.study.table import add_row, read_table
from sparseagent.study.verdicts import first_lines, place_lines

# Five seeds; the IQM drops the lowest and the highest and averages the other three.
DENSE = dict(enumerate((100.0, 90.0, 110.0, 80.0, 200.0)))  # IQM 100
TINY = dict(enumerate((50.0, 60.0, 40.0, 55.0, 45.0)))  # IQM 50
GMP = dict(enumerate((95.0, 93.0, 105.0, 85.0, 97.0)))  # IQM 95
RETURNS = (
    {("dense", 0.0, s): v for s, v in DENSE.items()}
    | {("tiny", 0.9, s): v for s, v in TINY.items()}
    | {("gmp", 0.9, s): v for s, v in GMP.items()}
    | {("gmp", 0.95, 0): 30.0}
)


@pytest.fixture
def place(filled):
    study, cells, table = filled(RETURNS, seeds=5)
    (found,) = load_places([study], cells, table)
    return found


def test_groups(place):
    assert [(g.method.name, g.sparsity, len(g.rows), g.planned) for g in place.groups] == [
        ("dense", 0.0, 5, 5),
        ("tiny", 0.9, 5, 5),
        ("gmp", 0.9, 5, 5),
        ("gmp", 0.95, 1, 5),
    ]
    assert place.missing == ()
    assert place.find("gmp", 0.98) is None


def test_iqm_over_seeds(place):
    assert place.find("dense").summary.value == pytest.approx(100.0)
    assert place.find("tiny", 0.9).summary.value == pytest.approx(50.0)
    assert place.find("gmp", 0.9).summary.value == pytest.approx(95.0)
    one = place.find("gmp", 0.95).summary
    assert (one.value, one.low, one.high) == (30.0, 30.0, 30.0)


def test_differences_are_taken_in_pairs(place):
    found = compare(place.find("gmp", 0.9), place.find("tiny", 0.9))
    # 45, 33, 65, 30, 52: without 30 and 65 the mean is 130 / 3.
    assert found.seeds == 5
    assert found.difference.value == pytest.approx(130 / 3)
    assert found.difference.low > 0
    assert found.better == 1.0
    partly = compare(place.find("gmp", 0.95), place.find("tiny", 0.9))
    assert (partly.seeds, partly.difference.value) == (1, -20.0)
    assert compare(place.find("gmp", 0.9), None) is None


def test_share_of_dense(place):
    found = share(place.find("gmp", 0.9), place.find("dense"), random=20.0)
    assert found.value == pytest.approx((95 - 20) / (100 - 20))
    assert share(place.find("gmp", 0.9), place.find("dense"), random=100.0) is None


def test_normalised_returns(place):
    found = normalised(place, place.find("gmp", 0.9))
    assert found == pytest.approx([0.95, 0.93, 1.05, 0.85, 0.97])  # the table's random return is 0


def against_tiny(filled, returns, seeds=5):
    study, cells, table = filled(returns, seeds=seeds)
    places = load_places([study], cells, table)
    return first_lines(places)[0], place_lines(places[0])[0]


def test_not_told_apart_from_the_tiny_agent(filled):
    first, line = against_tiny(filled, RETURNS | {("tiny", 0.9, s): 99.0 for s in range(5)})
    head, detail = first.splitlines()
    assert head == (
        "**Of 1 pruned agents up to sparsity 0.95, against tiny dense agents of the same size: "
        "1 not told apart.**"
    )
    # -4, -6, 6, -14, -2: (-4 - 6 - 2) / 3
    assert detail.startswith("  - CartPole-v1, PPO: not told apart: gradual magnitude 0.9 (-4 [")
    assert line.startswith("Against the tiny dense agent of the same size: not told apart:")


@pytest.mark.parametrize(
    ("tiny", "counted", "detail"),
    [
        (50.0, "1 above", None),
        (120.0, "1 below", "below: gradual magnitude 0.9 (-25 ["),
    ],
)
def test_above_or_below_needs_the_whole_interval(filled, tiny, counted, detail):
    first, _ = against_tiny(filled, RETURNS | {("tiny", 0.9, s): tiny for s in range(5)})
    head, *details = first.splitlines()
    assert head.partition(".**")[0].endswith(f"of the same size: {counted}")
    assert (" Corrected for 1 comparisons (Holm): 0 above and 0 below." in head) == (
        counted in ("1 above", "1 below")
    )
    assert [d.startswith(f"  - CartPole-v1, PPO: {detail}") for d in details] == [True] * bool(
        detail
    )


def test_few_seeds_are_no_verdict(filled):
    study, cells, table = filled(RETURNS, seeds=4)
    (place,) = load_places([study], cells, table)
    (first,) = first_lines([place])
    assert "1 with too few seeds to tell.**" in first
    assert (
        "too few seeds to tell: gradual magnitude 0.9 (at most 4 seeds)." in place_lines(place)[0]
    )
    # 45, 33, 65, 30: the middle two, and a range instead of an interval
    assert place_table(place)[1][2][6] == "+39 (30 to 65)"


def test_what_a_task_cannot_tell_apart_is_one_clause(filled):
    first, _ = against_tiny(filled, RETURNS | {("tiny", 0.9, s): v for s, v in GMP.items()})
    clause = "no difference at all: gradual magnitude 0.9 (at least 5 seeds)."
    assert first.endswith(f"CartPole-v1, PPO: {clause}")


def test_more_weights_than_the_tiny_agent_are_no_comparison(filled, content, row):
    study, cells, table = filled({k: v for k, v in RETURNS.items() if k[0] != "gmp"}, seeds=5)
    for cell in cells:
        if (cell.method.name, cell.sparsity) == ("gmp", 0.9):
            add_row(table, row(cell, mean=GMP[cell.seed], kept=2))  # the tiny one has 1
    (place,) = load_places([study], cells, table)
    assert first_lines([place]) == []
    assert place_table(place)[1][2][6].endswith("], 2.0x the weights")


def test_marks(filled, content):
    _, cells, table = filled(RETURNS, seeds=5)
    content["environments"][0]["target"] = {"gmp": {0.9: 94, 0.95: 94}}
    (place,) = load_places([parse_study(content)], cells, table)
    # No word of the sparsest agent: nobody keeps 97 % of dense.
    _, met, missed = place_lines(place)
    assert met.startswith("gradual magnitude 0.9: 95 [")
    assert met.endswith("against the mark 94 (5 of 5 seeds): met, but not surely.")
    assert missed.endswith("against the mark 94 (1 of 5 seeds): open, so far missed.")
    assert first_lines([place])[1:] == [
        "Pass marks met: 1 of 1, 1 of them not surely.",
        "Pass marks still open, with fewer than 5 seeds: 1, 0 of them met so far.",
    ]
    content["environments"][0]["target"] = {"gmp": {0.9: 96}}
    (place,) = load_places([parse_study(content)], cells, table)
    assert first_lines([place])[1:] == [
        "Pass marks met: 0 of 1.",
        "**Missed** CartPole-v1, PPO: " + place_lines(place)[-1].rpartition(":")[0],
    ]


def test_a_mark_below_the_whole_interval_is_surely_met(filled, content):
    _, cells, table = filled(RETURNS, seeds=5)
    content["environments"][0]["target"] = {"gmp": {0.9: 60}}
    (place,) = load_places([parse_study(content)], cells, table)
    assert any(line.endswith("(5 of 5 seeds): met.") for line in place_lines(place))


def test_the_sparsest_agent_is_judged_in_shares_of_dense(filled):
    # Returns below 0, as on Acrobot, where 3 % of dense's -80 would be 2.4; random: 0 in the table.
    shifted = {key: value + 900 for key, value in RETURNS.items() if key[1] < 0.95}
    study, cells, table = filled(shifted, seeds=5)
    (place,) = load_places([study], cells, table)
    assert place_lines(place)[-1].startswith(
        "The sparsest agent that keeps 97 % of dense: gradual magnitude 0.9, 1 weights, 100 % ["
    )
    assert place_lines(place)[-1].endswith("]; 5 seeds.")


def test_different_settings_of_one_environment_are_refused(filled, content):
    study, cells, table = filled(RETURNS, seeds=5)
    content["study"] = "other"
    content["environments"][0]["settings"] = {"n_envs": 2}
    with pytest.raises(ValueError, match="small and other train CartPole-v1 with ppo differently"):
        load_places([study, parse_study(content)], cells, table)


@pytest.mark.parametrize(("seeds", "covered"), [(2, 0.51), (3, 0.77), (4, 0.86)])
def test_what_is_said_of_intervals_with_few_seeds(seeds, covered):
    rng = np.random.default_rng(0)
    found = [estimate(rng.standard_normal(seeds), iqm, resamples=499) for _ in range(400)]
    share = np.mean([not interval.excludes(0.0) for interval in found])
    assert share == pytest.approx(covered, abs=0.06)
    assert seeds < ENOUGH_SEEDS


def test_the_written_report(filled, in_tmp):
    study, cells, table = filled(RETURNS, seeds=5)
    path = in_tmp / "docs" / "RESULTS.md"
    write_report([study], cells, table, path, [in_tmp / "small.yaml"])
    text = path.read_text()
    assert text.startswith("# Results")
    assert "16 of 20 planned runs" in text
    row = next(line for line in text.splitlines() if line.startswith("| gradual magnitude |"))
    cells_of_row = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells_of_row[1:3] == ["0.9", "5 of 5"]
    assert cells_of_row[3].startswith("95 [")
    assert cells_of_row[5].startswith("95 % [")
    assert cells_of_row[6].startswith("+43.3 [")
    assert cells_of_row[7] == "1.00"
    for figure in ("sparsity", "weights", "latency"):
        assert (path.parent / "figures" / f"study_cartpole_v1_ppo_{figure}.png").stat().st_size
    write_report([study], cells, table, path, [in_tmp / "small.yaml"])
    assert path.read_text() == text
    assert "Resumed" not in text
    rows = read_table(table)
    for seed in "13":
        (found,) = (r for r in rows if (r["method"], r["seed"]) == ("dense", seed))
        add_row(table, {**found, "resumed": True})
    write_report([study], cells, table, path, [in_tmp / "small.yaml"])
    assert "gives other numbers: dense (seed 1), dense (seed 3)." in path.read_text()
