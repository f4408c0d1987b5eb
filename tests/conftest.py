"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparseagent


@pytest.fixture(scope="session", autouse=True)
def _children_import_what_is_tested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Python processes that tests start import the package under test, not the folder they run in.

    `python -c` looks into the working directory first, where the source tree may lie, without its
    compiled core.
    """
    patch = pytest.MonkeyPatch()
    package = Path(sparseagent.__file__).resolve().parent.parent
    path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    patch.setenv("PYTHONPATH", os.pathsep.join(path))
    patch.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    patch.undo()
