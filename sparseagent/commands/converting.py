"""What `convert` says and knows beyond `from_sb3`: its warnings, and the run that a zip is from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparseagent.commands.console import open_console
from sparseagent.environments import is_plain_id
from sparseagent.policy import load

_SEED_FOLDER = re.compile(r"seed_(\d+)\Z")


@contextmanager
def printed_warnings() -> Iterator[None]:
    """Warnings become one line each on standard error, without the place in the code."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        open_console(error=True).print(f"warning: {warning.message}", style="yellow")


def stated_normaliser(file: Path | None, none: bool) -> Path | bool | None:
    """What the options say about the normaliser, as `from_sb3` takes it.

    Raises:
        ValueError: they contradict each other.
    """
    if file is not None and none:
        raise ValueError("vecnormalize: expected a file or --no-vecnormalize, got both")
    return False if none else file


def target_of(model: Path, out: Path | None, *, overwrite: bool) -> Path:
    """The policy file to write.

    Raises:
        FileExistsError: it exists already.
    """
    # Not with_suffix: a name such as CartPole-v1.5 has none.
    target = model.with_name(f"{model.name.removesuffix('.zip')}.safetensors")
    target = target if out is None else out
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"out: expected a new file, got {target}, which exists; name another, or replace it "
            "with --overwrite"
        )
    return target


def normaliser_line(metadata: Mapping[str, Any], found: bool) -> str:
    """What became of the normaliser; empty where nobody knows, which a warning says.

    Args:
        metadata: of the policy.
        found: whether statistics were looked for, not named by the caller.
    """
    if metadata["vecnormalize"] == "not stated":
        return ""
    if metadata["vecnormalize"] == "none":
        return "observations: taken as they come, not normalised"
    name = metadata["vecnormalize_file"]["name"]
    return f"observations: normalised by {name}{', found beside the zip' if found else ''}"


def environment_to_note(env: str | None) -> dict[str, str]:
    """The environment that the caller states, as metadata; empty where nothing is stated.

    Raises:
        ValueError: an id that no policy file may choose.
    """
    if env is None:
        return {}
    if not is_plain_id(env):
        raise ValueError(
            f"env: expected a plain Gymnasium id such as 'CartPole-v1' to note in the file, got "
            f"{env!r}; a file may not choose a module to import: convert without --env, and give "
            "this id to `rollout`"
        )
    return {"environment": env}


def environment_line(metadata: Mapping[str, Any]) -> str:
    """What to do about a run's environment that is not taken from a file; empty for plain ids."""
    noted = metadata.get("environment")
    if noted is None or is_plain_id(noted):
        return ""
    return f"environment: {noted} imports a module, which no file may choose; give it to `rollout`"


def run_facts(model: Path) -> dict[str, Any]:
    """What the run folder that a zip lies in says about it; nothing where it lies in none.

    The test's return is taken from the policy file that the run wrote for the same agent.
    """
    from sparseagent.train.config import RunConfig
    from sparseagent.train.folder import AGENTS, RunFolder

    match = _SEED_FOLDER.match(model.parent.name)
    root = model.parent.parent if match else model.parent
    agent = model.name.removesuffix(".zip")
    if agent not in AGENTS or not (root / "config.json").is_file():
        return {}
    try:
        config = RunConfig.load(root / "config.json")
    except (ValueError, TypeError):
        return {}  # another program's config.json
    seed = int(match[1]) if match else config.seeds[0]
    facts = {"environment": config.env, "agent": agent, "training_seed": seed}
    policy = RunFolder(root, config.seeds[0]).policy(agent, seed)
    return {**facts, **_tested(policy, facts)}


def _tested(policy: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The return that a run noted in the policy file of an agent, if it is that agent's."""
    try:
        noted = load(policy).metadata
    except (ValueError, OSError):
        return {}  # not tested yet, or damaged
    if any(noted.get(key) != value for key, value in facts.items()):
        return {}
    return {key: noted[key] for key in ("evaluated_return",) if key in noted}
