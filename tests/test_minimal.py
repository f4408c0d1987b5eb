"""If only one test file runs, on a bare install with nothing but NumPy, it is this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import sparseagent as sa


def test_import_loads_no_torch() -> None:
    code = (
        "import sys, sparseagent\n"
        "heavy = {'torch', 'gymnasium', 'stable_baselines3', 'scipy', 'matplotlib', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_policy_is_saved_loaded_compiled_and_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 5)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.8] = 0
    hidden = sa.Layer(sa.CSR.from_dense(weight), np.ones(16, np.float32), "tanh")
    head = sa.Layer(rng.normal(size=(3, 16)).astype(np.float32), np.zeros(3, np.float32))
    policy = sa.SparsePolicy(sa.chain((hidden, head), sa.Observation((5,))), sa.Argmax())
    rows = rng.normal(size=(9, 5)).astype(np.float32)
    policy.with_golden(rows).save(tmp_path / "policy.safetensors")
    loaded = sa.load(tmp_path / "policy.safetensors")
    outputs = np.tanh(rows @ weight.T + 1) @ head.weight.T
    for isa in sa.kernels():
        if isa.available:
            act = sa.compile(loaded, isa=isa.name)
            np.testing.assert_allclose(act(rows), outputs, rtol=1e-5, atol=1e-5)
            assert act.predict(rows)[0].tolist() == outputs.argmax(axis=1).tolist()


def test_a_source_tree_without_the_core_says_what_to_do(tmp_path: Path) -> None:
    package = tmp_path / "sparseagent"
    package.mkdir()
    for file in Path(sa.__file__).parent.glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import sparseagent"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "expected the compiled core" in done.stderr
    assert "pip install ." in done.stderr


def test_a_missing_package_is_named_with_its_extra() -> None:
    for use, extra in (
        ("sparseagent.from_torch", "convert"),
        ("sparseagent.from_sb3", "convert"),
        ("__import__('sparseagent.prune')", "convert"),
    ):
        code = f"import sys; sys.modules['torch'] = None; import sparseagent; {use}"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert f"torch: pip install 'sparseagent[{extra}]'" in done.stderr
