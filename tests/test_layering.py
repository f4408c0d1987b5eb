"""The walls of the architecture: who may import whom, file sizes, where pybind11 may appear."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sparseagent"
CSRC = ROOT / "csrc"

# What a module may import of the project, by the first part of its name below `sparseagent`: when
# it is loaded or later, inside a function. What is for type checking alone is not counted.
ALLOWED = {
    "csr": {"_core"},
    "fields": set(),
    "extras": set(),
    "program": {"_core", "csr"},
    "ops": {"_core", "csr", "fields", "ops", "program"},
    "head": {"csr"},
    "distributions": {"_core", "csr", "fields", "head"},
    "reference": {"_core", "csr", "head", "ops", "policyfile", "program"},
    "order": {"_core", "csr", "ops", "program"},
    "policyfile": {"csr", "distributions", "fields", "head", "ops", "program"},
    "input_use": {"csr", "ops", "program"},
    "policy": {
        *("csr", "fields", "head", "input_use", "ops", "order", "policyfile", "program"),
        "reference",
    },
    "plan": {"_core", "ops", "order", "policy", "program", "sampling", "tuning"},
    "sampling": set(),
    "tuning": {"csr", "ops", "policy"},
    "export": {
        "_core",
        "csr",
        "distributions",
        "export",
        "head",
        "ops",
        "order",
        "policy",
        "policyfile",
        "program",
        "reference",
    },
    "bootstrap": set(),
    "rollouts": {"bootstrap", "environments", "vector_envs"},
    "transitions": {"environments", "plan", "rollouts", "sampling", "vector_envs"},
    "vector_envs": {"environments"},
    "random_policy": {"environments", "vector_envs"},
    "environments": {"distractors"},
    "distractors": set(),
    "config": set(),
    "console": set(),
    "unsupported": set(),
    "agents": {"agents", "csr", "distributions", "head", "ops", "unsupported"},
    "prune": {"agents", "convert", "extras", "prune", "unsupported"},
    "convert": {
        *("agents", "convert", "csr", "extras", "head", "ops", "order", "policy", "policyfile"),
        *("program", "unsupported"),
        "reference",
    },
    "report": {"bootstrap", "report"},
    "robustness": {"bootstrap", "environments", "report", "robustness", "rollouts"},
    "train": None,  # the pipeline may use everything
    "study": None,
    "commands": None,
    "cli": {"commands", "extras"},
    "__init__": {
        "csr",
        "distributions",
        "export",
        "extras",
        "head",
        "ops",
        "plan",
        "policy",
        "policyfile",
        "program",
        "sampling",
    },
}
# Packages of others that a part may need: when it is loaded, and inside a function only. NumPy and
# the standard library are everybody's.
OUTER: dict[str, tuple[set[str], set[str]]] = {
    "policyfile": ({"safetensors"}, set()),
    "environments": (set(), {"gymnasium", "envpool", "minatar"}),
    "distractors": ({"gymnasium"}, set()),
    "console": ({"rich"}, set()),
    "agents": ({"torch"}, set()),
    "prune": ({"torch", "stable_baselines3"}, {"matplotlib"}),
    "convert": ({"torch", "gymnasium"}, {"onnx", "google"}),
    "report": (set(), {"matplotlib", "threadpoolctl"}),
    "robustness": ({"gymnasium"}, {"mujoco"}),
    "train": ({"cloudpickle", "torch", "stable_baselines3", "gymnasium", "rich"}, {"optuna"}),
    "study": ({"torch", "stable_baselines3", "rich"}, {"gymnasium", "wandb", "yaml"}),
    "commands": ({"typer", "rich"}, set()),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


class Imports(NamedTuple):
    """Modules imported when a file is loaded, and in its functions."""

    loading: set[str]
    lazy: set[str]


def imports_of(source: str) -> Imports:
    """Every import of the syntax tree but those under `if TYPE_CHECKING`."""
    found = Imports(set(), set())

    def visit(node: ast.AST, names: set[str]) -> None:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            from_package = node.module == "sparseagent"
            names.update(
                {f"sparseagent.{a.name}" for a in node.names} if from_package else {node.module}
            )
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                visit(child, names)
        else:
            inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
            names = found.lazy if isinstance(node, inside) else names
            for child in ast.iter_child_nodes(node):
                visit(child, names)

    visit(ast.parse(source), found.loading)
    return found


def inner(names: set[str]) -> set[str]:
    """The parts of the package among modules; `sparseagent` itself is the public face."""
    parts = {name.split(".")[1] for name in names if name.startswith("sparseagent.")}
    return {part for part in parts if (PACKAGE / part).exists() or is_file(part)}


def is_file(part: str) -> bool:
    return (PACKAGE / f"{part}.py").exists() or (PACKAGE / f"{part}.pyi").exists()


def outer(names: set[str]) -> set[str]:
    roots = {name.split(".")[0] for name in names}
    return roots - sys.stdlib_module_names - {"numpy", "sparseagent"}


def test_the_walk_sees_every_import() -> None:
    found = imports_of(
        "import a.b\nfrom sparseagent import csr\n"
        "if TYPE_CHECKING:\n    import unseen\nelse:\n    import seen\n"
        "class C:\n    import in_class\n    def f(self):\n        if x:\n            import g.h\n"
        "try:\n    from i.j import k\nexcept ImportError:\n    pass\n"
        "async def f():\n    with x:\n        from sparseagent.plan import Plan\n"
    )
    assert found.loading == {"a.b", "sparseagent.csr", "seen", "in_class", "i.j"}
    assert found.lazy == {"g.h", "sparseagent.plan"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_of_the_project(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"{part}: say in ALLOWED what this new part may import"
    allowed = ALLOWED[part]
    if allowed is None:
        return
    found = imports_of(path.read_text())
    more = inner(found.loading | found.lazy) - allowed
    assert not more, f"{part} may not import {more}, not even inside a function"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_of_others_packages(path: Path) -> None:
    part = part_of(path)
    loading, lazy = OUTER.get(part, (set(), set()))
    found = imports_of(path.read_text())
    assert outer(found.loading) <= loading, f"{part} must load {outer(found.loading)} lazily, if so"
    more = outer(found.lazy) - loading - lazy
    assert not more, f"{part} may not need {more}, not even inside a function: see OUTER"


def test_the_tables_name_only_what_is_there() -> None:
    """A line that nothing needs any more would let it come back unseen."""
    needed: dict[str, Imports] = {}
    for path in modules():
        found = imports_of(path.read_text())
        known = needed.setdefault(part_of(path), Imports(set(), set()))
        known.loading.update(found.loading)
        known.lazy.update(found.lazy)
    assert set(ALLOWED) == set(needed)
    for part, (loading, lazy) in OUTER.items():
        assert outer(needed[part].loading) == loading, part
        assert outer(needed[part].lazy) - loading == lazy, part


def test_there_is_one_console() -> None:
    """How text is wrapped and marked up is said there, not at each line that is printed."""
    for path in modules():
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or path == PACKAGE / "console.py":
                continue
            assert ast.unparse(call.func) not in ("Console", "rich.console.Console"), path
            printed = ast.unparse(call.func).endswith(".print")
            styled = {word.arg for word in call.keywords} & {"markup", "highlight", "emoji"}
            assert not (printed and styled), f"{path}:{call.lineno}: {styled}"


def test_only_the_binding_includes_pybind11() -> None:
    users = {p.name for p in CSRC.rglob("*") if p.is_file() and "pybind11/" in p.read_text()}
    assert users <= {
        "bind.cpp",
        "bind_act.h",
        "bind_arrays.h",
        "bind_lock.h",
        "bind_plan.h",
        "bind_rows.h",
        "bind_slots.h",
    }


def includes(path: Path) -> set[str]:
    return set(re.findall(r'#include "([^"]+)"', path.read_text()))


FLAGGED = ("kernels", "ops", "simd")  # folders of files compiled for one instruction set
#: What they see of the core.
PLAIN = {f"core/{name}.h" for name in ("head", "kernel", "layer", "op", "planes")}


def flagged(pattern: str) -> list[Path]:
    return [path for folder in FLAGGED for path in (CSRC / folder).glob(pattern)]


def test_kernels_see_only_the_kernel_interface_and_simd() -> None:
    for path in flagged("*.[ch]*"):
        core = {name for name in includes(path) if name.startswith("core/")}
        assert core <= PLAIN, path.name


def test_what_kernels_see_of_the_core_is_plain_too() -> None:
    seen = PLAIN | {"core/window.h", "core/activations.def", "core/heads.def"}
    for name in PLAIN:
        assert includes(CSRC / name) <= seen, name
        assert "std::vector" not in code(CSRC / name), name


def test_isa_flagged_files_use_no_library() -> None:
    """No STL in files compiled for one instruction set: shared code could leak to other CPUs."""
    allowed = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
    for path in flagged("*.[ch]*"):
        system = set(re.findall(r"#include <([^>]+)>", path.read_text()))
        assert system <= allowed, path.name


def sources() -> list[Path]:
    names = ("csrc", "sparseagent", "tests", "bench", "examples")
    found = [p for name in names for p in (ROOT / name).rglob("*")]
    return sorted(p for p in found if p.suffix in {".py", ".cpp", ".h", ".cu"})


def test_file_sizes() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long, "one file, one job: split these"


def test_no_flags_that_break_the_promise() -> None:
    for path in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir(), ROOT / "pyproject.toml"]:
        assert not re.search(r"march=native|ffast-math|funsafe-math", path.read_text()), path.name
    assert "-ffp-contract=off" in (ROOT / "CMakeLists.txt").read_text()


def code(path: Path) -> str:
    """A C++ file without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def test_adding_a_kernel_format_is_one_file() -> None:
    """Formats are found by listing the folder: no other source or build file names one."""
    build = [ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir()]
    # How a file stores a weight: CSR, or dense without indices. No matter of kernels.
    stored = {CSRC / "policy" / "read.cpp"}
    others = {path for path in CSRC.rglob("*") if path.suffix in (".cpp", ".h")} - stored
    formats = {path for path in (CSRC / "kernels").glob("*.cpp") if "Kernel SPARSE" in code(path)}
    for path in formats:
        (name,) = re.findall(r'Kernel SPARSEAGENT_SYMBOL = \{\s*"(\w+)"', code(path))
        for other in others - formats:
            assert f'"{name}"' not in code(other), (name, other.name)
        for other in build:
            text = re.sub(r"#[^\n]*", "", other.read_text())
            assert not re.search(rf"\b{path.stem}\b", text), (path.name, other.name)


def kinds_of_ops() -> set[str]:
    """The kinds that have a file of their own in C++: layers have kernels instead."""
    return {path.stem for path in (CSRC / "ops").glob("*.cpp")}


def test_an_op_is_named_by_its_own_files_alone() -> None:
    """Others walk the table. The reader knows how each is written down, the check its limits."""
    home = {CSRC / "policy" / "read.cpp", CSRC / "core" / "check.cpp"}
    named = re.compile(rf"OpKind::({'|'.join(kinds_of_ops())})\b")
    for path in CSRC.rglob("*"):
        if path.suffix in (".cpp", ".h") and path not in home:
            assert not named.search(code(path)), path
    # What libraries' modules become, and what a C file says for each, is told there.
    makers = {"ops", "convert", "export"}
    for path in modules():
        found = imports_of(path.read_text())
        ops = {f"sparseagent.ops.{kind}" for kind in kinds_of_ops()}
        if part_of(path) not in makers:
            assert not (found.loading | found.lazy) & ops, path


def test_an_op_is_one_class_one_line_and_one_file() -> None:
    """What CONTRIBUTING.md promises: the table names what the folders hold, and nothing else."""
    text = (CSRC / "core" / "ops.def").read_text()
    named = set(re.findall(r"^SPARSEAGENT_OP\((\w+)\)", text, re.MULTILINE))
    shared = {"__init__", "activation", "window"}
    classes = {path.stem for path in (PACKAGE / "ops").glob("*.py")} - shared
    assert named == classes == kinds_of_ops() | {"observe", "linear", "conv2d"}


def test_an_activation_is_one_line_a_polynomial_and_a_float64_form() -> None:
    text = (CSRC / "core" / "activations.def").read_text()
    named = set(re.findall(r"^SPARSEAGENT_ACTIVATION\((\w+),", text, re.MULTILINE))
    cases = set(re.findall(r"Activation::(\w+):", (CSRC / "simd" / "activation.h").read_text()))
    assert cases == named
    home = {"activation.h", "check.cpp"}  # where celu divides by its parameter
    listed = named - {"relu", "identity"}  # which kernels finish in registers
    for path in CSRC.rglob("*"):
        if path.suffix in (".cpp", ".h") and path.name not in home:
            assert not set(re.findall(r"Activation::(\w+)", path.read_text())) & listed, path.name


def test_a_library_of_agents_is_one_file() -> None:
    """What CONTRIBUTING.md promises: found by listing the folder, named nowhere else."""
    known = {"__init__", "acting", "agent", "pruned", "spaces"}
    files = {path.stem: path for path in (PACKAGE / "agents").glob("*.py")}
    files["sb3"] = PACKAGE / "agents" / "sb3" / "__init__.py"
    libraries = {name: path for name, path in files.items() if name not in known}
    assert {"cleanrl", "rl_games", "rsl_rl", "sb3", "skrl", "tianshou"} <= libraries.keys()
    for name, path in libraries.items():
        tree = ast.parse(path.read_text())
        assert any(isinstance(n, ast.FunctionDef) and n.name == "adapt" for n in tree.body), name
        reader = {"sb3_network.py", "sb3_zip.py", "sb3_agent.py"} if name == "sb3" else set()
        for other in modules():
            if other.parent == path.parent or other.name in reader:
                continue
            found = imports_of(other.read_text())
            theirs = {n for n in found.loading | found.lazy if n.startswith("sparseagent.agents")}
            assert not {n for n in theirs if n.split(".")[2:3] == [name]}, other
