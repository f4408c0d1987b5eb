"""A study's file is read strictly; every message names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparseagent.study.config import load_study, parse_study
from sparseagent.study.target import Target


def test_what_a_file_may_leave_out(content):
    for name in ("csv", "runs", "report", "episodes"):
        del content[name]
    study = parse_study(content)
    assert (study.seeds, study.episodes, study.wandb) == ((0, 1), 100, "off")
    assert (study.csv, study.runs) == (Path("runs/small.csv"), Path("runs"))


def test_values_are_taken_over(content):
    content["seeds"] = [3, 5]
    content["wandb"] = False  # what YAML makes of a bare off
    content["environments"][1]["target"] = {"gmp": {0.95: -80}}
    study = parse_study(content)
    assert study.seeds == (3, 5)
    assert study.wandb == "off"
    assert study.variants["gmp"].sparsities == (0.9, 0.95)
    assert study.variants["dense"].sparsities == (0.0,)
    assert study.environments[0].algos == ("ppo", "dqn")
    assert study.environments[0].methods == ("dense", "tiny", "gmp")
    assert study.environments[1].targets == {("gmp", 0.95): Target(-80)}


def _set(content, path, value):
    *parents, last = path
    for name in parents:
        content = content[name]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("study",), "a b", "study: expected letters, digits and hyphens"),
        (("seeds",), 0, "seeds: expected 1 or more, got 0"),
        (("seeds",), [1, 1], "seeds: expected each entry once"),
        (("seeds",), "3", "seeds: expected an integer"),
        (("seeds",), [], "seeds: expected at least one"),
        (("episodes",), 0, "episodes: expected 1 or more"),
        (("csv",), 3, "csv: expected a path"),
        (("wandb",), "maybe", "wandb: expected one of off, offline, online"),
        (("colour",), "red", "study file: expected keys among"),
        (("methods",), {}, "methods: expected at least one"),
        (("methods", "magic"), {}, "methods: expected keys among"),
        (("methods", "gmp"), {}, "methods.gmp.sparsity: expected numbers between 0 and 1"),
        (("methods", "gmp", "sparsity"), 1.0, "methods.gmp.sparsity: expected numbers between"),
        (("methods", "gmp", "sparsity"), [0.9, 0.9], "methods.gmp.sparsity: expected each entry"),
        (("methods", "gmp", "settings"), {"nett": 1}, "methods.gmp.settings: expected names among"),
        (("methods", "gmp", "settings"), {"seeds": [1]}, "methods.gmp.settings: expected names"),
        (("methods", "dense"), {"sparsity": 0.5}, "methods.dense.sparsity: expected none"),
        (("environments",), {}, "environments: expected a list"),
        (("environments", 0, "algos"), ["ppo", "ppo"], "environments: expected each entry once"),
        (("environments", 0, "settings"), {"x": 1}, r"environments\[0\].settings: expected names"),
        (("environments", 0, "methods"), ["set"], r"environments\[0\].methods: expected names"),
        (("environments", 0, "target"), {"set": {}}, r"environments\[0\].target: expected keys"),
        (("environments", 0, "methods"), ["gmp", "gmp"], "methods: expected each entry once"),
        (("environments", 0, "target"), {"gmp": {0.5: 1}}, r"environments\[0\].target.gmp: expect"),
        (("environments", 0, "target"), {"gmp": {0.9: {}}}, "expected return or of_<method>"),
        (("environments", 0, "target"), {"gmp": {0.9: float("nan")}}, "expected a finite number"),
        (("environments", 0, "target"), {"gmp": {0.9: {"of_dense": 97}}}, r"in \(0, 10\], such as"),
        (
            ("environments", 0, "settings"),
            {"hyperparameters": None},
            r"environments\[0\].settings.hyperparameters: expected keys and values, got None",
        ),
    ],
)
def test_errors_name_the_key(content, path, value, message):
    _set(content, path, value)
    with pytest.raises((ValueError, TypeError), match=message):
        parse_study(content)


@pytest.mark.parametrize("name", ["study", "seeds", "methods", "environments"])
def test_a_missing_key_is_named(content, name):
    del content[name]
    with pytest.raises(ValueError, match=f"expected the key '{name}'"):
        parse_study(content)


def test_a_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("study: [")
    with pytest.raises(ValueError, match=r"study\.yaml: expected YAML"):
        load_study(path)


def test_of_two_equal_keys_none_wins_silently(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("study: a\nseeds: 3\nmethods: {dense: }\nseeds: 5\nenvironments: []\n")
    with pytest.raises(ValueError, match=r"study\.yaml, line 1: keys: expected each entry once"):
        load_study(path)
    path.write_text("study: a\nmethods:\n  dense:\n  dense:\n")
    with pytest.raises(ValueError, match=r"study\.yaml, line 3: keys: expected each entry once"):
        load_study(path)


STUDIES = sorted((Path(__file__).parents[2] / "bench" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_projects_own_studies_can_be_read(path):
    from sparseagent.study.cells import cells_of

    study = load_study(path)
    assert study.name == path.stem.replace("_", "-")
    assert cells_of(study)
