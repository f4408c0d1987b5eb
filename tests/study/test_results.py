"""Numbers of a report, against numbers computed by hand."""

from __future__ import annotations

import pytest

from sparseagent.study.config import parse_study
from sparseagent.study.report import write_report
from sparseagent.study.results import compare, load_places, normalised, share
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


def test_marks_and_the_tiny_agent_in_words(filled):
    study, cells, table = filled(RETURNS | {("tiny", 0.9, s): 99.0 for s in range(5)}, seeds=5)
    places = load_places([study], cells, table)
    (line,) = first_lines(places)
    assert line.startswith("**Not above the tiny dense agent of the same size: CartPole-v1, PPO: ")
    assert "gradual magnitude 0.9 (-4 [" in line  # -4, -6, 6, -14, -2: (-4 - 6 - 2) / 3
    assert place_lines(places[0])[0].startswith("**Not above the tiny dense agent")


def test_what_a_task_cannot_tell_apart_is_one_clause(filled):
    returns = {("tiny", 0.9, s): v for s, v in GMP.items()}
    study, cells, table = filled(RETURNS | returns, seeds=5)
    (line,) = first_lines(load_places([study], cells, table))
    clause = "no difference at all for gradual magnitude 0.9 (at least 5 seeds)"
    assert line.endswith(f"CartPole-v1, PPO: {clause}**")


def test_marks(filled, content):
    _, cells, table = filled(RETURNS, seeds=5)
    content["environments"][0]["target"] = {"gmp": {0.9: 94, 0.95: 94}}
    (place,) = load_places([parse_study(content)], cells, table)
    lines = place_lines(place)
    assert lines[0].startswith("gradual magnitude 0.9: 95 [")
    assert lines[0].endswith("against the mark 94 (5 of 5 seeds): met.")
    assert lines[1].endswith("against the mark 94 (1 of 5 seeds): **missed**.")
    first = first_lines([place])
    assert first[0].startswith("Every pruned agent up to sparsity 0.95 is above the tiny dense")
    assert first[1] == "Pass marks met: 1 of 2."
    assert first[2].startswith("**Missed** CartPole-v1, PPO: gradual magnitude 0.95: 30 against")


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
