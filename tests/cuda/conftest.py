"""What the tests of the CUDA kernels share."""

from __future__ import annotations

from pathlib import Path

import builds
import pytest
from make_cases import write_all


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files for the program `cases`, by name."""
    paths = write_all(tmp_path_factory.mktemp("cases"), 12)
    return {path.stem: path for path in paths}


@pytest.fixture(scope="session")
def host_objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Everything besides the kernels and what drives them."""
    if builds.COMPILER is None:
        pytest.skip("needs a C++ compiler")
    return builds.compiled(tmp_path_factory.mktemp("host"), builds.HOST)


@pytest.fixture(scope="session")
def nvcc() -> Path:
    """The CUDA compiler."""
    found = builds.nvcc()
    if found is None:
        pytest.skip("needs nvcc: on PATH, in CUDACXX or from the package nvidia-cuda-nvcc")
    return found
