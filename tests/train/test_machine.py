"""What a row of a table says of the sources it was made with."""

from __future__ import annotations

import subprocess

import pytest

from sparseagent.train.machine import package_commit, source_commit


@pytest.fixture
def repository(tmp_path):
    """A commit with a source in a folder, and a table that measurements write."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("a = 1\n")
    (tmp_path / "results.csv").write_text("x\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path, git("rev-parse", "--short=10", "HEAD")


def test_the_commit_of_a_folder_within(repository):
    root, commit = repository
    assert source_commit(root / "package") == commit


def test_tables_are_no_sources_and_sources_are_seen_from_everywhere(repository):
    root, commit = repository
    (root / "results.csv").write_text("y\n")
    assert source_commit(root / "package") == commit
    (root / "kernel.cpp").write_text("int a;\n")  # nobody has added it
    assert source_commit(root) == commit
    (root / "package" / "module.py").write_text("a = 2\n")
    (root / "other").mkdir()
    assert source_commit(root / "other") == commit + "+"


def test_outside_of_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_commit(tmp_path) == "unknown"
    assert source_commit(tmp_path / "nowhere") == "unknown"


def test_a_package_inside_of_another_repository_has_no_commit(repository, monkeypatch):
    root, commit = repository
    installed = root / "venv" / "sparseagent"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()  # as pip leaves it: nobody has added it
    monkeypatch.setattr("sparseagent.__file__", str(installed / "__init__.py"))
    assert package_commit().startswith("installed ")
    monkeypatch.setattr("sparseagent.__file__", str(root / "package" / "module.py"))
    assert package_commit() == commit
