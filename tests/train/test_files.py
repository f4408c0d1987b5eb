"""Checkpoints, tables and the run folder: complete or absent."""

import shutil

import pytest

from sparseagent.train import RunConfig
from sparseagent.train.checkpoint import drop_checkpoints, newest_checkpoint, save_checkpoint
from sparseagent.train.folder import FolderError, open_folder
from sparseagent.train.records import read_rows, write_rows

FACTS = {"seconds": 1.0, "inexact": "", "unsaved": ""}


def test_the_newest_complete_checkpoint_counts_and_the_one_before_is_kept(tmp_path):
    root = tmp_path / "checkpoints"
    assert newest_checkpoint(root) is None
    for step in (100, 200, 300):
        save_checkpoint(root, step, lambda at, n=step: (at / "a").write_text(str(n)), FACTS)
    assert (newest_checkpoint(root) / "a").read_text() == "300"
    kept = ["step_000000000200", "step_000000000300"]
    assert sorted(path.name for path in root.glob("step_*")) == kept

    def killed(folder):
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(root, 400, killed, FACTS)
    assert (newest_checkpoint(root) / "a").read_text() == "300"
    save_checkpoint(root, 400, lambda at: (at / "a").write_text("400"), FACTS)
    assert (newest_checkpoint(root) / "a").read_text() == "400"
    drop_checkpoints(root)
    assert newest_checkpoint(root) is None


@pytest.mark.parametrize("name", ["a", "facts.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "{}"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(name, content, tmp_path):
    root = tmp_path / "checkpoints"
    for step in (100, 200):
        save_checkpoint(root, step, lambda at: (at / "a").write_text("content"), FACTS)
    (root / "step_000000000200" / name).write_text(content)
    said = []
    assert newest_checkpoint(root, said.append).name == "step_000000000100"
    assert said == [
        f"checkpoint step_000000000200 is damaged ({name}); going on from the checkpoint before"
    ]
    (root / "step_000000000100" / name).write_text(content)
    with pytest.raises(FolderError, match=r"expected a whole checkpoint.*--overwrite"):
        newest_checkpoint(root)
    if name == "a":
        assert newest_checkpoint(root, trust=True).name == "step_000000000200"


def test_a_changed_file_of_a_finished_stage_is_refused(tmp_path):
    config = RunConfig(env="CartPole-v1", out=str(tmp_path / "run"))
    folder, _ = open_folder(config)
    model = folder.model("dense", 0)
    model.write_text("weights")
    folder.mark_done("dense", 0, {}, [model])
    folder.check("dense", 0)
    model.write_text("others")
    with pytest.raises(FolderError, match=r"got dense\.zip missing, damaged.*--trust-folder"):
        folder.check("dense", 0)
    open_folder(config, trust=True)[0].check("dense", 0)
    marker = folder.root / "state" / "dense.done"
    marker.write_text('{"timesteps": 5}')
    with pytest.raises(FolderError, match="got none: an older version wrote it"):
        folder.check("dense", 0)
    marker.write_text("")
    with pytest.raises(FolderError, match=r"dense\.done, which is damaged: delete it"):
        folder.check("dense", 0)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"timesteps": 5}', b"{}"])
def test_trust_does_not_replace_a_marker_that_says_nothing(content, tmp_path):
    config = RunConfig(env="CartPole-v1", out=str(tmp_path / "run"))
    folder, _ = open_folder(config, trust=True)
    folder.mark_done("dense", 0, {"timesteps": 5, "seconds": 1.0})
    assert folder.facts("dense", 0) == {"timesteps": 5, "seconds": 1.0}
    (folder.root / "state" / "dense.done").write_bytes(content)
    with pytest.raises(FolderError, match=r"dense\.done.*delete it .*--trust-folder does not help"):
        folder.facts("dense", 0)


def test_tables_round_trip_and_refuse_other_columns(tmp_path):
    path = tmp_path / "folder" / "table.csv"
    write_rows(path, ("a", "b"), [{"a": 1, "b": "x,y"}, {"b": 0.5, "a": 2}])
    assert read_rows(path) == [{"a": "1", "b": "x,y"}, {"a": "2", "b": "0.5"}]
    with pytest.raises(ValueError, match="rows: expected the columns"):
        write_rows(path, ("a", "b"), [{"a": 1}])


def test_a_folder_goes_on_with_the_same_run_only(tmp_path):
    config = RunConfig(env="CartPole-v1", out=str(tmp_path / "run"))
    folder, resumed = open_folder(config)
    assert not resumed
    folder.mark_done("dense", 0, {"timesteps": 5, "seconds": 1.0})
    folder, resumed = open_folder(config)
    assert resumed
    assert folder.facts("dense", 0) == {"timesteps": 5, "seconds": 1.0}

    other = RunConfig(env="CartPole-v1", sparsity=0.5, out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"another run.*sparsity: 0\.5, not 0\.9.*--overwrite"):
        open_folder(other)
    folder, resumed = open_folder(other, overwrite=True)
    assert not resumed
    assert not folder.is_done("dense", 0)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    config = RunConfig(env="CartPole-v1", out=str(tmp_path))
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="expected a new, empty or run folder"):
            open_folder(config, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("text", ['{"model_type": "bert"}', "{}", "years of work", "[1]"])
def test_a_configuration_of_something_else_is_left_alone(text, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    for out in (".", str(tmp_path)):
        for overwrite in (False, True):
            with pytest.raises(ValueError, match="out: expected a run folder, got"):
                open_folder(RunConfig(env="CartPole-v1", out=out), overwrite=overwrite)
    assert (tmp_path / "config.json").read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "thesis.txt",
            "seed_1/notes.md",
            "state/data.csv",
            "plots/mine.png",
            "seed_1/config.json",
        ),
        *("candidates/thesis.txt", "other/config.json", "state/checkpoints_dense/mine.txt"),
    ],
)
def test_only_a_run_is_overwritten(name, tmp_path):
    config = RunConfig(env="CartPole-v1", out=str(tmp_path / "run"))
    folder, _ = open_folder(config)
    folder.mark_done("dense", 0, {})
    foreign = folder.root / name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("years of work")
    with pytest.raises(ValueError, match=f"overwrite: expected nothing but a run in .* got {name}"):
        open_folder(config, overwrite=True)
    assert foreign.exists()
    assert open_folder(config)[0].is_done("dense", 0)


def test_a_link_out_of_a_run_is_not_followed(tmp_path):
    config = RunConfig(env="CartPole-v1", out=str(tmp_path / "run"))
    folder, _ = open_folder(config)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "report.md").write_text("years of work")
    (folder.root / "plots").symlink_to(tmp_path / "work", target_is_directory=True)
    with pytest.raises(ValueError, match="overwrite: expected nothing but a run"):
        open_folder(config, overwrite=True)
    (folder.root / "plots").unlink()
    (folder.root / "report.md").symlink_to(tmp_path / "work" / "report.md")
    open_folder(config, overwrite=True)
    assert (tmp_path / "work" / "report.md").exists()
    assert [path.name for path in folder.root.iterdir()] == ["config.json"]


def test_every_file_of_a_run_is_overwritten(finished_run, tmp_path):
    _, outcome = finished_run
    root = tmp_path / "run"
    shutil.copytree(outcome.folder, root)
    shutil.copytree(outcome.folder / "state", root / "seed_3" / "state")
    shutil.copytree(outcome.folder, root / "candidates" / "erk_0.9")
    step = root / "state" / "checkpoints_dense" / "step_000000000100"
    for name in ("model.zip", "replay.pkl", "sparsifier.pt"):
        step.mkdir(parents=True, exist_ok=True)
        (step / name).touch()
    for name in ("search.db", "candidates.csv", "draft.zip", "state/tiny.done.17.part"):
        (root / name).touch()
    config = RunConfig(env="CartPole-v1", out=str(root))
    assert not open_folder(config, overwrite=True)[1]
    assert [path.name for path in root.iterdir()] == ["config.json"]


def test_other_seeds_have_their_own_folder(tmp_path):
    config = RunConfig(env="CartPole-v1", seeds=(4, 7), out=str(tmp_path / "run"))
    folder, _ = open_folder(config)
    assert folder.model("dense", 4) == tmp_path / "run" / "dense.zip"
    assert folder.model("dense", 7) == tmp_path / "run" / "seed_7" / "dense.zip"
    assert folder.policy("pruned", 4).name == "policy.safetensors"
