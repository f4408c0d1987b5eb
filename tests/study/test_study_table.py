"""The table of results: whole at any moment, sorted, shared by studies and processes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from sparseagent.study.table import COLUMNS, add_row, key_of, read_table
from sparseagent.train.records import write_rows


def test_no_file_no_rows(tmp_path):
    assert read_table(tmp_path / "none.csv") == []


def test_rows_are_sorted_and_those_of_other_studies_stay(tmp_path, row):
    table = tmp_path / "new" / "results.csv"
    add_row(table, row(seed=10))
    add_row(table, row(seed=2))
    add_row(table, row(study="another"))
    add_row(table, row(seed=2, mean=7.5))
    found = [(r["study"], int(r["seed"]), float(r["mean"])) for r in read_table(table)]
    assert found == [("another", 0, 1.0), ("small", 2, 7.5), ("small", 10, 1.0)]
    assert table.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_the_key_is_typed():
    values = {"study": "s", "env": "e", "algo": "a", "method": "m", "sparsity": "0.9", "seed": "3"}
    assert key_of(values) == ("s", "e", "a", "m", 0.9, 3)


def test_other_columns_are_refused(tmp_path, row):
    table = tmp_path / "results.csv"
    with pytest.raises(ValueError, match="row: expected the columns"):
        add_row(table, {"seed": 1})
    with pytest.raises(ValueError, match="expected a number as mean"):
        add_row(table, row(mean=float("nan")))
    assert not table.exists()
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="table: expected the columns"):
        add_row(table, row())


def _add(job):
    table, rows = job
    for values in rows:
        add_row(table, values)


def test_processes_lose_no_row(tmp_path, row):
    table = tmp_path / "results.csv"
    jobs = [(table, [row(method=f"m{k}", seed=s) for s in range(20)]) for k in range(4)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(_add, jobs)
    assert len({key_of(r) for r in read_table(table)}) == 80


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": ""}, "expected a number as mean"),
        ({"mean": "nan"}, "expected a number as mean"),
        ({"iqm": "12.O"}, r"expected a number as iqm of \[small, CartPole-v1, ppo, dense, 0, 0\]"),
        ({"seconds": -1}, "expected a number of 0 or more as seconds"),
        ({"sparsity": "9.9"}, "expected a number from 0 to 1 as sparsity"),
        ({"seed": "0.5"}, "expected a whole number as seed"),
        ({"kept": 7, "effective": 8}, "expected effective <= kept <= full"),
        ({"settings": ""}, "expected a name as settings"),
        ({"resumed": "1"}, "expected True, False or nothing as resumed"),
    ],
)
def test_what_no_cell_has_is_refused(changes, message, tmp_path, row):
    table = tmp_path / "results.csv"
    write_rows(table, COLUMNS, [row(**changes)])
    with pytest.raises(ValueError, match=message) as refused:
        read_table(table)
    assert str(table) in str(refused.value)
    assert "restore it from a copy" in str(refused.value)


def test_a_table_of_before_resumed_was_a_column_is_read_and_gets_it(tmp_path, row):
    table = tmp_path / "results.csv"
    old = row(seed=1)
    del old["resumed"]
    write_rows(table, COLUMNS[:-1], [old])
    assert [r["resumed"] for r in read_table(table)] == [""]
    add_row(table, row(seed=2, resumed=True))
    assert table.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [(r["seed"], r["resumed"]) for r in read_table(table)] == [("1", ""), ("2", "True")]
    write_rows(table, COLUMNS[1:], [{k: v for k, v in row().items() if k != "study"}])
    with pytest.raises(ValueError, match="table: expected the columns"):
        read_table(table)


def test_the_published_table_is_read():
    rows = read_table(Path(__file__).parents[2] / "bench" / "studies" / "results" / "results.csv")
    assert len(rows) > 100


def test_an_empty_table_is_no_table(tmp_path):
    table = tmp_path / "results.csv"
    for text, message in (
        ("", "expected a CSV table in .* got an empty file"),
        (",".join(COLUMNS) + "\n", "expected at least one row"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_table(table)


def test_a_cell_twice_is_refused(tmp_path, row):
    table = tmp_path / "results.csv"
    add_row(table, row(sparsity="0.9"))
    with table.open("a") as stream:
        stream.write(table.read_text().splitlines()[1].replace(",0.9,", ",0.90,") + "\n")
    with pytest.raises(ValueError, match=r"expected each cell once .* dense, 0\.9, 0 again"):
        read_table(table)
