"""What to install where an optional package is missing."""

from __future__ import annotations

#: The extra that brings a package, by the name under which it is imported.
_EXTRAS = {
    "envpool": "envs",
    "gymnasium": "rollout",
    "matplotlib": "train",
    "minatar": "envs",
    "onnx": "onnx",
    "optuna": "search",
    "rich": "cli",
    "stable_baselines3": "train",
    "torch": "convert",
    "typer": "cli",
    "wandb": "study",
    "yaml": "train",
}


def needed(error: ModuleNotFoundError, by: str, *, extra: str | None = None) -> ModuleNotFoundError:
    """The error that says what to install; `error` itself where the package is none of ours.

    Args:
        error: what the import raised.
        by: what needs the package.
        extra: what brings all that `by` needs; default: the one that brings the package. The
            command line itself always needs `cli` alone.
    """
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return error
    brings = _EXTRAS[package]
    if brings != "cli":
        brings = extra or brings
    text = f"{by} needs {package}: pip install 'sparseagent[{brings}]'"
    return ModuleNotFoundError(text, name=error.name)
