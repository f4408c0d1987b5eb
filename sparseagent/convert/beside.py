"""What lies beside a zip: the statistics of its VecNormalize, and what its training was told.

A zip does not hold the observation statistics. Whoever saved them has put them near by, in one of
a few layouts; whoever did not may have left the configuration that says that there were some.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from sparseagent.agents.spaces import Space
from sparseagent.convert.normaliser import (
    DictNormaliser,
    Normaliser,
    Statement,
    file_facts,
    read_normaliser,
)

_NAMES = ("vecnormalize.pkl", "vec_normalize.pkl")
#: `<prefix>_<n>_steps.zip`, as Stable-Baselines3's CheckpointCallback names a model.
_CHECKPOINT = re.compile(r"(?P<prefix>.+)_(?P<steps>\d+_steps)\Z")
_CONFIGURATION_LIMIT = 1 << 20
#: The entry of a configuration in YAML, be it `normalize: true` or a pair of a pickled mapping.
_ENTRY = re.compile(
    r"""^[ \t-]*['"]?normalize['"]?[ \t]*(?::|\n[ \t]*-)[ \t]*([^\n]+)$""", re.MULTILINE
)
_NORM_OBS = re.compile(r"norm_obs['\" ]{0,4}[:=\n -]{1,12}(true|false)", re.IGNORECASE)
_ZOO_KEYS = ("n_timesteps", "policy")
_WAYS_OUT = (
    "pass vecnormalize= with the file that VecNormalize.save wrote (--vecnormalize FILE), or "
    "vecnormalize=False (--no-vecnormalize) if observations were not normalised"
)

_log = logging.getLogger(__name__)


class NormaliserWarning(UserWarning):
    """Nobody knows whether an agent's observations were normalised in its training."""


def statement_beside(model: Path, normalised: bool | None, space: Space) -> Statement:
    """What can be known about the normaliser of a zip whose caller says nothing.

    Args:
        model: the zip.
        normalised: whether the zip says that there was a VecNormalize; None where it does not.
        space: of the policy's observations.

    Raises:
        ValueError: there was one, but its statistics are not found; several files differ; or what
            is found contradicts the zip, its configuration or the policy's shape.
    """
    found = _statistics(model)
    configuration, says = _configuration(model)
    if found is not None:
        file, normaliser = found
        _check_agreement(model, file, normalised, configuration if says is False else None)
        if normaliser is not None and not normaliser.fits(space):
            raise ValueError(
                f"vecnormalize: expected statistics for {model}, which observes {space}, got those "
                f"of {normaliser.shapes} from {file}, which lies beside it; {_WAYS_OUT}"
            )
        _log.info("%s: observations are normalised by %s, found beside it", model, file)
        return Statement(normaliser, file_facts(file, normaliser))
    if says or normalised:
        witness = (
            f"the training configuration beside it, {configuration}, says normalize: true"
            if says
            else "the zip holds an observation from before a VecNormalize"
        )
        raise ValueError(
            f"vecnormalize: expected statistics beside {model}, got none, though {witness}; "
            f"{_WAYS_OUT}"
        )
    if says is None and normalised is None:
        warn_of_silence(str(model))
        return Statement(None, {"vecnormalize": "not stated"})
    return Statement(None, {"vecnormalize": "none"})


def warn_of_silence(name: str, ways: str = _WAYS_OUT, depth: int = 5) -> None:
    """Warn that an agent's observations are taken as they come, which may be wrong.

    Args:
        name: what the warning calls the agent.
        ways: what can be done about it.
        depth: how many calls the user's line is above this one.
    """
    warnings.warn(
        f"{name}: nothing says whether its training normalised observations; taken for not "
        f"normalised, which gives wrong actions if it did: {ways}",
        NormaliserWarning,
        stacklevel=depth,
    )


def _statistics(model: Path) -> tuple[Path, Normaliser | DictNormaliser | None] | None:
    """The statistics beside a zip; None where there are none."""
    files = [file for file in dict.fromkeys(_candidates(model)) if file.is_file()]
    found = [(file, _read(file)) for file in files]
    for file, normaliser in found[1:]:
        first = found[0][1]
        if first is not normaliser and not (first and normaliser and first.equals(normaliser)):
            raise ValueError(
                f"vecnormalize: expected one set of statistics beside {model}, got {found[0][0]} "
                f"and {file}, which differ; {_WAYS_OUT}"
            )
    return found[0] if found else None


def _read(file: Path) -> Normaliser | DictNormaliser | None:
    try:
        return read_normaliser(file)
    except ValueError as error:
        raise ValueError(f"{error}; {_WAYS_OUT}") from error


def _candidates(model: Path) -> Iterator[Path]:
    """Where the statistics of a zip may lie, the likeliest first."""
    folder, stem = model.parent, model.stem
    for name in _NAMES:
        yield folder / stem / name  # RL Zoo: <env>.zip and <env>/vecnormalize.pkl
        yield folder / f"{stem}_{name}"  # a run folder
    if checkpoint := _CHECKPOINT.match(stem):
        yield folder / f"{checkpoint['prefix']}_vecnormalize_{checkpoint['steps']}.pkl"
    if stem == "best_model":  # RL Zoo: the folder's environment is not in the name
        yield from sorted(folder.glob("*/vecnormalize.pkl"))
    for name in _NAMES:
        yield folder / name  # the hub


def _check_agreement(
    model: Path, file: Path, normalised: bool | None, configuration: Path | None
) -> None:
    if configuration is not None or normalised is False:
        denial = "the zip" if configuration is None else f"the configuration {configuration}"
        raise ValueError(
            f"vecnormalize: expected no statistics beside {model}, for {denial} says that there "
            f"was no VecNormalize, got {file}; {_WAYS_OUT}"
        )


def _configuration(model: Path) -> tuple[Path | None, bool | None]:
    """The training's configuration and whether it says that observations were normalised."""
    folder, stem = model.parent, model.stem
    run = folder.parent if re.fullmatch(r"seed_\d+", folder.name) else folder
    for file in (folder / stem / "config.yml", folder / "config.yml", run / "config.json"):
        text = _text(file)
        says = _json_says(text) if file.suffix == ".json" else _yaml_says(text)
        if says is not None:
            return file, says
    return None, None


def _text(file: Path) -> str:
    """The beginning of a small text file; empty where there is none that can be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(_CONFIGURATION_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def _json_says(text: str) -> bool | None:
    """What the configuration of a `sparseagent run` says."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return None
    says = config.get("normalize") if isinstance(config, dict) and "env" in config else None
    return says if isinstance(says, bool) else None


def _yaml_says(text: str) -> bool | None:
    """What RL Zoo's config.yml says; its lines are read, not its YAML, which makes objects."""
    if not all(re.search(rf"\b{key}\b", text) for key in _ZOO_KEYS):
        return None
    entry = _ENTRY.search(text)
    value = entry[1].strip(" \t'\"\r").lower() if entry else "false"
    if value in ("false", "null", "~"):
        return False
    observations = _NORM_OBS.search(text)
    if observations is not None:
        return observations[1].lower() == "true"
    return True if value == "true" or value.startswith(("{", "dict(")) else None
