"""The wheel: it installs into a bare environment, without torch, and runs a saved policy there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import sparseagent as sa

ROOT = Path(__file__).resolve().parent.parent

RUN = """
import sys
import numpy as np
import sparseagent as sa
assert "site-packages" in sa.__file__, sa.__file__
act = sa.compile(sa.load(sys.argv[1]))
np.save(sys.argv[2], act(np.load(sys.argv[3])))
sa.export_c(act.policy, "controller.c")
assert "torch" not in sys.modules
"""


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_wheel_runs_a_policy_without_torch(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("sparseagent-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    libraries = {name.partition(".")[0] for name in names if name.endswith(".so")}
    assert libraries == {"sparseagent/_core", "sparseagent/lib/libsparseagent"}
    assert not [name for name in names if name.startswith(("tests", "bench", "csrc"))]
    assert wheel.stat().st_size < 4_000_000  # the kernels twice: for Python, and for C

    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    run(python, "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(20, 7)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.7] = 0
    layer = sa.Layer(sa.CSR.from_dense(weight), np.ones(20, np.float32), "relu")
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((7,))))
    rows = rng.normal(size=(5, 7)).astype(np.float32)
    policy.with_golden(rows).save(tmp_path / "policy.safetensors")
    np.save(tmp_path / "rows.npy", rows)
    run(python, "-c", RUN, "policy.safetensors", "out.npy", "rows.npy", cwd=tmp_path)
    assert np.load(tmp_path / "out.npy").tobytes() == sa.compile(policy)(rows).tobytes()

    # What the wheel brings for C: a project that only finds it, and policies as C files.
    command = [str(python), "-m", "sparseagent.config", "--cmakedir"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    where = f"-Dsparseagent_DIR={found.stdout.strip()}"
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake = shutil.which("cmake", path=tools) or "cmake"
    run(cmake, "-S", ROOT / "tests" / "capi" / "project", "-B", "user", where, cwd=tmp_path)
    run(cmake, "--build", "user", cwd=tmp_path)
    said = subprocess.run(
        [tmp_path / "user" / "forward", tmp_path / "policy.safetensors"],
        input=rows.tobytes(),
        capture_output=True,
        check=True,
    )
    assert said.stdout.startswith(sa.compile(policy)(rows).tobytes())
    run("cc", "-DCONTROLLER_SELFTEST", "controller.c", "-o", "controller", cwd=tmp_path)
    run(tmp_path / "controller", cwd=tmp_path)
