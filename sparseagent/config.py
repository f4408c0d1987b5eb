"""Where the C library lies that this package brings: `python -m sparseagent.config --cmakedir`.

cmake -Dsparseagent_DIR=$(python -m sparseagent.config --cmakedir) ...
cc main.c $(python -m sparseagent.config --includes --libs)
"""

from __future__ import annotations

import argparse
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def cmake_folder() -> Path:
    """The folder that `find_package(sparseagent)` looks for.

    Raises:
        FileNotFoundError: the package was not installed from a wheel.
    """
    return _existing(_PACKAGE / "lib" / "cmake" / "sparseagent")


def include_folder() -> Path:
    """The folder of `sparseagent.h` and `sparseagent.hpp`; raises like `cmake_folder`."""
    return _existing(_PACKAGE / "include")


def library_folder() -> Path:
    """The folder of `libsparseagent.so`; raises like `cmake_folder`."""
    return _existing(_PACKAGE / "lib")


def main() -> None:
    """Print what was asked for, in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m sparseagent.config", description="Where the C library of sparseagent lies."
    )
    for flag, words in (
        ("--cmakedir", "the folder for -Dsparseagent_DIR"),
        ("--includes", "flags for the compiler"),
        ("--libs", "flags for the linker"),
    ):
        parser.add_argument(flag, action="store_true", help=words)
    asked = parser.parse_args()
    if not (asked.cmakedir or asked.includes or asked.libs):
        parser.error("expected --cmakedir, --includes or --libs")
    said = []
    try:
        if asked.cmakedir:
            said.append(str(cmake_folder()))
        if asked.includes:
            said.append(f"-I{include_folder()}")
        if asked.libs:
            folder = library_folder()
            said.append(f"-L{folder} -Wl,-rpath,{folder} -lsparseagent")
    except FileNotFoundError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(" ".join(said))


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no {folder}: the C library comes with an installed wheel (pip install sparseagent), "
            "or from CMake (cmake --install build --prefix ...)"
        )
    return folder


if __name__ == "__main__":
    main()
