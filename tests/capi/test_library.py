"""The C library: a project that only finds it, hostile bytes, no allocation, what it exports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparseagent as sa
from sparseagent.csr import CSR

BUILD = os.environ.get("SPARSEAGENT_NATIVE_BUILD")
CMAKE = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
PROJECT = Path(__file__).with_name("project")

pytestmark = [
    pytest.mark.skipif(not BUILD, reason="SPARSEAGENT_NATIVE_BUILD names no C++ build (make test)"),
    pytest.mark.skipif(not CMAKE, reason="needs cmake"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as `cmake --install` lays it down, then moved: it does not know where it is."""
    first = tmp_path_factory.mktemp("first") / "prefix"
    command = [str(CMAKE), "--install", str(BUILD), "--component", "capi", "--prefix", str(first)]
    subprocess.run(command, check=True, capture_output=True)
    return Path(shutil.move(first, tmp_path_factory.mktemp("second") / "moved"))


@pytest.fixture(scope="module")
def built(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of a user, built against it."""
    folder = tmp_path_factory.mktemp("user")
    configure = ["-S", str(PROJECT), "-B", str(folder), f"-DCMAKE_PREFIX_PATH={installed}"]
    subprocess.run([str(CMAKE), *configure], check=True, capture_output=True)
    made = subprocess.run(
        [str(CMAKE), "--build", str(folder)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def policy_of(head: sa.Head, order: str = "ascending") -> sa.SparsePolicy:
    rng = np.random.default_rng(0)
    layers = []
    for width, out, name in ((17, 70, "tanh"), (70, 64, "relu"), (64, 6, "identity")):
        weight = rng.normal(size=(out, width)) * (rng.random((out, width)) < 0.2)
        bias = rng.normal(size=out).astype(np.float32)
        layers.append(sa.Layer(CSR.from_dense(weight.astype(np.float32)), bias, name))
    step = sa.Observation.normalise(rng.normal(size=17), np.ones(17), eps=1e-8, clip=4)
    return sa.SparsePolicy(sa.chain(layers, step), head).repack(order)


@pytest.mark.parametrize("order", ["ascending", "avx512"])
@pytest.mark.parametrize(
    "head",
    [
        sa.Raw(),
        sa.Argmax(),
        sa.MultiCategorical((2, 4), (0, -3)),
        sa.DiagGaussian(
            np.zeros(6, np.float32), squash=True, bounds=sa.unscale_to([-2] * 6, [3] * 6)
        ),
    ],
    ids=lambda head: head.kind,
)
def test_the_bits_of_the_plan(built: Path, head: sa.Head, order: str, tmp_path: Path) -> None:
    policy = policy_of(head, order)
    policy.save(tmp_path / "policy.safetensors")
    given = np.random.default_rng(1).normal(size=(150, 17)).astype(np.float32)
    given[3, 5] = np.nan
    said = subprocess.run(
        [built / "forward", tmp_path / "policy.safetensors"],
        input=given.tobytes(),
        capture_output=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    plan = sa.compile(policy, tune=0)
    once = plan(given).tobytes() + plan.predict(given)[0].tobytes()
    assert said.stdout == once * 2


def test_hostile_bytes_and_arguments_are_refused_with_a_reason(built: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = sa.CSR.from_dense(rng.normal(size=(2, 3)).astype(np.float32))
    layer = sa.Layer(weight, np.zeros(2, np.float32))
    policy = sa.SparsePolicy(sa.chain([layer], sa.Observation((3,))))
    policy.save(tmp_path / "policy.safetensors")
    command = [built / "hostile", tmp_path / "policy.safetensors"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="needs glibc")
@pytest.mark.parametrize("head", [sa.Raw(), sa.Argmax()], ids=lambda head: head.kind)
def test_calls_allocate_nothing(built: Path, head: sa.Head, tmp_path: Path) -> None:
    policy_of(head).save(tmp_path / "policy.safetensors")
    command = [built / "quiet", tmp_path / "policy.safetensors"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


def test_a_missing_file_is_an_error_of_cpp(built: Path) -> None:
    command = [built / "forward", "nowhere.safetensors"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.startswith("nowhere.safetensors: ")


def library(prefix: Path) -> Path:
    return next(path for path in prefix.rglob("libsparseagent.so*") if not path.is_symlink())


@pytest.mark.skipif(not shutil.which("nm"), reason="needs nm")
def test_it_exports_what_the_header_declares(installed: Path) -> None:
    command = ["nm", "--dynamic", "--defined-only", library(installed)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1] for line in table.splitlines()}
    header = (installed / "include" / "sparseagent.h").read_text()
    assert exported == set(re.findall(r"\b(sparseagent_\w+)\(", header))


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="needs pkg-config")
def test_pkg_config_finds_it_where_it_was_moved(installed: Path, tmp_path: Path) -> None:
    folder = next(installed.rglob("sparseagent.pc")).parent
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "sparseagent"],
        env={**os.environ, "PKG_CONFIG_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (tmp_path / "main.c").write_text(
        "#include <sparseagent.h>\n#include <stdio.h>\n"
        "int main(void) { return puts(sparseagent_version()) < 0; }\n"
    )
    subprocess.run(["cc", "main.c", "-o", "main", *flags], cwd=tmp_path, check=True)
    where = {**os.environ, "LD_LIBRARY_PATH": str(library(installed).parent)}
    said = subprocess.run(
        [tmp_path / "main"], env=where, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", said.stdout)
