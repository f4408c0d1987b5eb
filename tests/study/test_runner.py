"""Resuming: what has a row, or is somebody else's, is not run; one failure ends nothing."""

from __future__ import annotations

import pytest

from sparseagent.study import execute as execute_module
from sparseagent.study.cells import cells_of
from sparseagent.study.command import Opened, run_studies
from sparseagent.study.config import parse_study
from sparseagent.study.runner import Work, check_settings_agree, left, progress, run_cells
from sparseagent.study.table import add_row, key_of, read_table
from sparseagent.train.lock import claimed


@pytest.fixture
def work(content, in_tmp):
    study = parse_study(content)
    return Work(cells_of(study), in_tmp / "results.csv", "off", 1)


@pytest.fixture
def trained(monkeypatch, row):
    """Replaces training; the list of what was trained, in order."""
    done = []

    def execute(cell, display, wandb):
        done.append(cell.key)
        return row(cell, mean=1.0, kept=5, seconds=2.0)

    monkeypatch.setattr(execute_module, "execute", execute)
    return done


def test_all_cells_in_order(work, trained):
    assert run_cells(work) == ()
    assert trained == [cell.key for cell in work.cells]
    assert {key_of(r) for r in read_table(work.csv)} == set(trained)


def test_only_what_is_missing(work, trained, row):
    for cell in work.cells[:4]:
        add_row(work.csv, row(cell))
    run_cells(work)
    assert trained == [cell.key for cell in work.cells[4:]]
    trained.clear()
    run_cells(work)
    assert trained == []


def test_a_cell_of_another_process_is_left_to_it(work, trained):
    with claimed(work.cells[1].folder) as ours:
        assert ours
        (missing,) = run_cells(work)
        assert str(missing) == "CartPole-v1 ppo tiny 0.9 seed 0: another command trains it"
    assert work.cells[1].key not in trained
    assert len(trained) == len(work.cells) - 1
    run_cells(work)
    assert trained[-1] == work.cells[1].key


def test_a_failure_is_written_down_and_tried_again_next_time(work, monkeypatch, row, capsys):
    broken = {work.cells[2].key}

    def execute(cell, display, wandb):
        if cell.key in broken:
            raise RuntimeError("the mask is not final")
        return row(cell, mean=1.0, kept=5, seconds=2.0)

    monkeypatch.setattr(execute_module, "execute", execute)
    (missing,) = run_cells(work)
    assert missing.cell == work.cells[2]
    assert missing.why == f"the mask is not final ({work.cells[2].folder / 'error.txt'})"
    errors = work.cells[2].folder / "error.txt"
    assert "the mask is not final" in errors.read_text()
    assert "FAILED CartPole-v1 ppo gmp 0.9 seed 0: the mask is not final" in capsys.readouterr().out
    assert len(read_table(work.csv)) == len(work.cells) - 1
    broken.clear()
    assert run_cells(work) == ()
    assert not errors.exists()
    assert len(read_table(work.csv)) == len(work.cells)


def test_an_agent_whose_return_is_no_number_has_failed(work, monkeypatch, row):
    def execute(cell, display, wandb):
        mean = float("nan") if cell.key == work.cells[2].key else 1.0
        return row(cell, mean=mean, kept=5, seconds=2.0)

    monkeypatch.setattr(execute_module, "execute", execute)
    (missing,) = run_cells(work)
    assert missing.cell == work.cells[2]
    assert "expected a number as mean" in missing.why
    assert len(read_table(work.csv)) == len(work.cells) - 1


def test_rows_made_with_other_settings_are_refused(work, row):
    add_row(work.csv, row(work.cells[0], settings="0123456789ab"))
    with pytest.raises(ValueError, match="CartPole-v1 ppo dense seed 0 that was made with other"):
        check_settings_agree(work.cells, work.csv)
    with pytest.raises(ValueError, match="other settings"):
        run_cells(work)


def test_progress_and_time_left(work, row):
    add_row(work.csv, row(work.cells[0], seconds=10.0))
    add_row(work.csv, row(work.cells[1], seconds=20.0))
    add_row(work.csv, row(study="another", seconds=99.0, env="Other-v0"))
    assert progress(work.cells, work.csv) == "2 of 22"
    rows = [r for r in read_table(work.csv) if r["study"] == "small"]
    # 6 cells of CartPole, PPO at 15 s; the 14 others are guessed to cost the same.
    assert left(work.cells, rows) == pytest.approx(20 * 15.0)
    assert left(work.cells, []) == pytest.approx(22 * 60.0)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"env": "Cartpole-v1", "algos": "ppo"}, "env: expected a Gymnasium id"),
        (
            {
                "env": "CartPole-v1",
                "algos": "ppo",
                "settings": {"hyperparameters": {"gama": 0.9}},
            },
            "hyperparameters: expected names among .*; got gama",
        ),
    ],
)
def test_typing_errors_show_before_anything_is_trained(
    content, in_tmp, trained, environment, message
):
    content["environments"] = [environment]
    study = parse_study(content)
    opened = Opened((study,), cells_of(study), study.csv, study.report)
    with pytest.raises(ValueError, match=message):
        run_studies(opened, 1)
    assert trained == []
