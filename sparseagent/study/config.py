"""What a study is: one YAML file, read strictly; an error names the key that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparseagent.study.method import METHODS, Method
from sparseagent.study.settings import check_mapping, check_settings
from sparseagent.study.target import Target, parse_targets

WANDB = ("off", "offline", "online")
_KEYS = (
    *("study", "seeds", "episodes", "csv", "runs", "report", "wandb"),
    *("methods", "comparisons", "environments"),
)
_REQUIRED = ("study", "seeds", "methods", "environments")
_ENVIRONMENT_KEYS = ("env", "algos", "settings", "methods", "target")


@dataclass(frozen=True)
class Variant:
    """One method of a study, with the sparsities at which it is trained.

    Attributes:
        method: how the agent is trained.
        sparsities: fractions of zeros in [0, 1); `(0.0,)` for a dense agent.
        settings: fields of `RunConfig` that the method sets otherwise.
    """

    method: Method
    sparsities: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """One environment of a study.

    Attributes:
        env: Gymnasium environment id.
        algos: algorithms, names as in `RunConfig.algo`.
        settings: fields of `RunConfig` for all methods alike.
        methods: names of the methods that are trained here.
        targets: marks to reach, by name of the method and sparsity; for the report.
    """

    env: str
    algos: tuple[str, ...]
    settings: Mapping[str, Any]
    methods: tuple[str, ...]
    targets: Mapping[tuple[str, float], Target]


@dataclass(frozen=True)
class Study:
    """A study: environments x algorithms x methods x sparsities x seeds.

    Attributes:
        name: names its rows in the table and its run folders.
        seeds: training seeds.
        episodes: test episodes of each agent.
        csv: the table of results; studies may share one.
        runs: folder of the run folders.
        report: the report's path; figures lie in `figures/` beside it.
        wandb: one of `WANDB`.
        variants: methods by name.
        comparisons: by the name of a method the baselines that it is to be above, all of them one
            family; empty where the file says nothing.
        environments: in the order in which they are trained.
    """

    name: str
    seeds: tuple[int, ...]
    episodes: int
    csv: Path
    runs: Path
    report: Path
    wandb: str
    variants: Mapping[str, Variant]
    comparisons: Mapping[str, tuple[str, ...]]
    environments: tuple[Environment, ...]


def load_study(path: str | Path) -> Study:
    """Read a study's YAML file.

    Raises:
        ValueError: a key is missing, unknown or out of range; the message names it.
        TypeError: a value has the wrong type; the message names the key.
        ImportError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError("a study needs PyYAML: pip install 'sparseagent[train]'") from error
    try:
        given = yaml.load(Path(path).read_text(), _strict_loader(Path(path)))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML: {error}") from error
    return parse_study(given)


def _strict_loader(path: Path) -> Any:
    """A safe loader of YAML that does not let the second of two equal keys win silently."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        pass

    def mapping(loader: Any, node: Any) -> Any:
        keys = [loader.construct_object(key) for key, _ in node.value]
        _distinct(f"{path}, line {node.start_mark.line + 1}: keys", keys)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return Loader


def parse_study(given: Any) -> Study:
    """Check what a study's YAML file holds; raises as `load_study`."""
    check_mapping("study file", given, _KEYS, _REQUIRED)
    name = given["study"]
    if not isinstance(name, str) or not name or not name.replace("-", "").isalnum():
        raise ValueError(f"study: expected letters, digits and hyphens, got {name!r}")
    variants = _variants(given["methods"])
    return Study(
        name=name,
        seeds=_seeds(given["seeds"]),
        episodes=_count("episodes", given.get("episodes", 100), least=1),
        csv=_path("csv", given.get("csv", f"runs/{name}.csv")),
        runs=_path("runs", given.get("runs", "runs")),
        report=_path("report", given.get("report", f"runs/{name}.md")),
        wandb=_wandb(given.get("wandb", "off")),
        variants=variants,
        comparisons=_comparisons(given.get("comparisons", {}), variants),
        environments=_environments(given["environments"], variants),
    )


def _variants(given: Any) -> dict[str, Variant]:
    check_mapping("methods", given, tuple(METHODS), ())
    if not given:
        raise ValueError("methods: expected at least one, got none")
    found = {}
    for name, entry in given.items():
        key = f"methods.{name}"
        content = {} if entry is None else entry
        check_mapping(key, content, ("sparsity", "settings"), ())
        method = METHODS[name]
        settings = content.get("settings", {})
        check_settings(f"{key}.settings", settings)
        found[name] = Variant(method, _sparsities(key, method, content), settings)
    return found


def _sparsities(key: str, method: Method, content: Mapping[str, Any]) -> tuple[float, ...]:
    given = content.get("sparsity")
    if not method.has_sparsity:
        if given is not None:
            raise ValueError(f"{key}.sparsity: expected none, for {method.name!r} has no sparsity")
        return (0.0,)
    values: list[Any] = given if isinstance(given, list) else [given]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise ValueError(f"{key}.sparsity: expected numbers between 0 and 1, got {given!r}")
    _distinct(f"{key}.sparsity", values)
    return tuple(map(float, values))


def _environments(given: Any, variants: Mapping[str, Variant]) -> tuple[Environment, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"environments: expected a list with at least one entry, got {given!r}")
    found = [_environment(f"environments[{k}]", entry, variants) for k, entry in enumerate(given)]
    _distinct("environments", [(e.env, algo) for e in found for algo in e.algos])
    return tuple(found)


def _environment(key: str, given: Any, variants: Mapping[str, Variant]) -> Environment:
    check_mapping(key, given, _ENVIRONMENT_KEYS, ("env", "algos"))
    algos = given["algos"] if isinstance(given["algos"], list) else [given["algos"]]
    settings = given.get("settings", {})
    check_settings(f"{key}.settings", settings)
    methods = given.get("methods", list(variants))
    if not isinstance(methods, list) or not methods or not set(methods) <= set(variants):
        raise ValueError(
            f"{key}.methods: expected names among {', '.join(variants)}, got {methods!r}"
        )
    _distinct(f"{key}.methods", methods)
    levels = {name: variants[name].sparsities for name in methods}
    targets = parse_targets(f"{key}.target", given.get("target", {}), levels)
    return Environment(str(given["env"]), tuple(algos), settings, tuple(methods), targets)


def _comparisons(given: Any, variants: Mapping[str, Variant]) -> dict[str, tuple[str, ...]]:
    check_mapping("comparisons", given, tuple(variants), ())
    found = {}
    for name, against in given.items():
        key = f"comparisons.{name}"
        if not isinstance(against, list) or not against or not set(against) <= set(variants):
            raise ValueError(
                f"{key}: expected a list of names among {', '.join(variants)}, got {against!r}"
            )
        _distinct(key, [name, *against])
        found[name] = tuple(against)
    return found


def _seeds(given: Any) -> tuple[int, ...]:
    if isinstance(given, list):
        for seed in given:
            _count("seeds", seed, least=0)
        _distinct("seeds", given)
        if not given:
            raise ValueError("seeds: expected at least one, got none")
        return tuple(given)
    return tuple(range(_count("seeds", given, least=1)))


def _count(key: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{key}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{key}: expected {least} or more, got {value}")
    return value


def _path(key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key}: expected a path, got {value!r}")
    return Path(value)


def _wandb(value: Any) -> str:
    value = "off" if value is False else value  # YAML reads a bare `off` as false
    if value not in WANDB:
        raise ValueError(f"wandb: expected one of {', '.join(WANDB)}, got {value!r}")
    return str(value)


def _distinct(key: str, values: Sequence[Any]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{key}: expected each entry once, got {list(values)}")
