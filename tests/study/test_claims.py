"""What a study is to show, corrected for the number of its comparisons."""

from __future__ import annotations

import pytest

from sparseagent.study.claims import claims_of, claims_section
from sparseagent.study.config import parse_study
from sparseagent.study.results import load_places

SEEDS = range(10)
RETURNS = (
    {("dense", 0.0, s): 100.0 + s for s in SEEDS}
    | {("tiny", 0.9, s): 50.0 + s * (-1) ** s for s in SEEDS}
    | {("gmp", 0.9, s): 90.0 + s for s in SEEDS}
)


def _claims(filled, content, returns=RETURNS, seeds=10, **changes):
    _, cells, table = filled(returns, seeds=seeds)
    content["seeds"] = seeds
    study = parse_study({**content, **changes})
    places = load_places([study], cells, table)
    return study, places, claims_of(study, places)


def test_comparisons_that_the_file_names(filled, content):
    study, places, claims = _claims(filled, content, comparisons={"gmp": ["tiny", "dense"]})
    # Ten differences of one sign have 2 / 1024 each, and there are two comparisons.
    assert [(c.group.label, c.baseline.label) for c in claims] == [
        ("gradual magnitude 0.9", "dense"),
        ("gradual magnitude 0.9", "tiny dense 0.9"),
    ]
    assert [c.found.p for c in claims] == [2 / 1024] * 2
    assert [c.p for c in claims] == [4 / 1024] * 2
    assert [c.verdict for c in claims] == ["below", "above"]
    title, text, table = claims_section(study, places)
    assert "small" in title
    assert "One family of 2 comparisons" in text
    assert [line.rpartition("| ")[2].strip(" |") for line in table.splitlines()[2:]] == [
        "below",
        "above",
    ]


def test_a_method_with_a_mark_has_the_usual_baselines(filled, content):
    assert not _claims(filled, content)[2]
    marked = {"env": "CartPole-v1", "algos": "ppo", "target": {"gmp": {0.9: 80}}}
    _, _, claims = _claims(filled, content, environments=[marked])
    assert [c.baseline.method.name for c in claims] == ["dense", "tiny"]
    # What the file names is all there is; other dense agents stand beside it, uncorrected.
    study, places, claims = _claims(filled, content, comparisons={"gmp": ["dense"]})
    assert [(c.baseline.method.name, c.p) for c in claims] == [("dense", 2 / 1024)]
    *_, text, beside = claims_section(study, places)
    assert text.startswith("Beside the family")
    assert "tiny dense 0.9" in beside.splitlines()[2]
    assert len(beside.splitlines()) == 3
    _, _, claims = _claims(filled, content, comparisons={"tiny": ["dense"]})
    assert [(c.group.method.name, c.baseline.method.name) for c in claims] == [("tiny", "dense")]


def test_few_seeds_are_open_and_five_do_not_survive_correction(filled, content):
    for seeds, verdict in ((4, "open"), (5, "above, but not after correction")):
        some = {key: value for key, value in RETURNS.items() if key[2] < seeds}
        *_, (claim,) = _claims(filled, content, some, seeds, comparisons={"gmp": ["tiny"]})
        assert claim.verdict == verdict


def test_a_study_without_comparisons_has_no_section(filled, content):
    study, places, _ = _claims(filled, content)
    assert claims_section(study, places) == []


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"ppo": ["dense"]}, ValueError, "comparisons: expected keys among dense, tiny, gmp"),
        ({"gmp": []}, ValueError, "comparisons.gmp: expected a list of names among"),
        ({"gmp": "dense"}, ValueError, "comparisons.gmp: expected a list of names among"),
        ({"gmp": ["rigl"]}, ValueError, "comparisons.gmp: expected a list of names among"),
        ({"gmp": ["gmp"]}, ValueError, "comparisons.gmp: expected each entry once"),
        (["gmp"], TypeError, "comparisons: expected keys and values"),
    ],
)
def test_refusals(content, given, error, message):
    with pytest.raises(error, match=message):
        parse_study({**content, "comparisons": given})
