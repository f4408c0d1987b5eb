"""A report rests on whole tables, or says which one is not."""

from __future__ import annotations

import shutil

import pytest

from sparseagent.train import RunConfig
from sparseagent.train.pipeline import outcome
from sparseagent.train.records import read_rows, write_rows
from sparseagent.train.run_data import load_run
from sparseagent.train.run_report import verdicts
from sparseagent.train.run_tables import read_run_tables

TABLES = ("agents.csv", "episodes.csv", "parity.csv", "layers.csv", "latency.csv")


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run that a test may damage."""
    root = tmp_path / "run"
    shutil.copytree(finished_run[1].folder, root)
    return root


def refused(root, name, message):
    config = RunConfig.load(root / "config.json")
    with pytest.raises(ValueError, match=message) as error:
        read_run_tables(root, config)
    assert f"in {root / name}, got" in str(error.value)
    assert f"delete {root / 'state' / 'test.done'}" in str(error.value)
    assert (root / "state" / "test.done").exists()
    with pytest.raises(ValueError, match=message):
        load_run(root)
    with pytest.raises(ValueError, match=message):
        outcome(root)


def test_a_finished_run_is_whole(run):
    assert outcome(run).ok
    assert load_run(run).tables.differing == []


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_not_whole_is_refused(name, run):
    text = (run / name).read_text()
    header, *lines = text.splitlines(keepends=True)
    for damaged, message in (
        (header, "expected at least one row"),
        ("", "expected a CSV table .* an empty file"),
        (text[:-1], "expected a last line that ends"),
        ("".join([header, lines[0], *lines]), "expected each row once"),
        (text.replace(",", ";", 1), "expected the columns"),
        (header + "".join(lines[0].rsplit(",", 1)) + "".join(lines[1:]), "cells in row 2"),
        (text.replace("\n", "\0\n", 1), "expected "),
    ):
        (run / name).write_text(damaged)
        refused(run, name, message)
    (run / name).unlink()
    refused(run, name, "expected a table in .* got none")


@pytest.mark.parametrize("name", ["agents.csv", "episodes.csv", "parity.csv"])
def test_a_table_without_an_agent_or_an_episode_is_refused(name, run):
    lines = (run / name).read_text().splitlines(keepends=True)
    for kept in ([*lines[:1], *lines[2:]], lines[:-1], lines[:2]):
        (run / name).write_text("".join(kept))
        refused(run, name, "expected each agent, seed.* of the run in .* got none of")


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("parity.csv", "different", "", "expected a whole number as different"),
        ("parity.csv", "different", "-1", "expected a whole number as different"),
        ("parity.csv", "different", "99999", "expected a number from 0 to 512 as different"),
        ("parity.csv", "observations", "0", "expected a number of 1 or more as observations"),
        ("agents.csv", "reached", "true", "expected True or False as reached"),
        ("agents.csv", "resumed", "yes", "expected True, False or nothing as resumed"),
        ("agents.csv", "kept", "999999999", "expected effective <= kept <= weights"),
        ("episodes.csv", "return", "nan", "expected a number as return"),
        ("latency.csv", "p50_ns", "-3", "expected a number of 0 or more as p50_ns"),
        ("layers.csv", "sparsity", "95", "expected a number from 0 to 1 as sparsity"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name, column, value, message, run):
    rows = read_rows(run / name)
    write_rows(run / name, tuple(rows[0]), [{**rows[0], column: value}, *rows[1:]])
    refused(run, name, message)


def test_an_agent_that_was_resumed_inexactly_is_told(run):
    first, *others = read_rows(run / "agents.csv")
    assert "Resumed" not in " ".join(verdicts(load_run(run)))
    write_rows(run / "agents.csv", tuple(first), [{**first, "resumed": True}, *others])
    told = f"whole state of the training: {first['agent']} (seed 0). A run without a break"
    assert told in " ".join(verdicts(load_run(run)))


def test_a_table_of_before_resumed_was_a_column_is_read(run):
    rows = read_rows(run / "agents.csv")
    for row in rows:
        del row["resumed"]
    write_rows(run / "agents.csv", tuple(rows[0]), rows)
    assert {row["resumed"] for row in load_run(run).tables.agents} == {""}


def test_a_difference_is_told(run):
    first, *others = read_rows(run / "parity.csv")
    write_rows(run / "parity.csv", tuple(first), [{**first, "different": 2}, *others])
    assert not outcome(run).ok
    assert [row["agent"] for row in load_run(run).tables.differing] == [first["agent"]]
