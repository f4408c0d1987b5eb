"""The environments that `rollout` steps: made from an id, or ready ones, told apart and described.

gymnasium and EnvPool differ in how they reset, seed and declare their spaces; those differences end
here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

_PLAIN_ID = re.compile(r"(?:[\w-]+/)?\w[\w.-]*", re.ASCII)
_OWN = "sparseagent/"
_MINATAR = "MinAtar/"
_MINATAR_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")


def noted_environment(metadata: Mapping[str, Any], source: str) -> str | None:
    """The environment id that a policy file notes; None where it notes none.

    gymnasium imports the Python module that stands before a colon in an id. A file that somebody
    hands over must not choose what is imported, so it may note a plain id alone. Nor is the plain
    environment of an agent that saw a wrapped one played untold.

    Args:
        metadata: the policy's `metadata`.
        source: what holds it, for the message.

    Raises:
        ValueError: what it notes is no plain id, or it names wrappers around the environment.
    """
    noted = metadata.get("environment")
    if noted is None or noted == "":
        return None
    if not isinstance(noted, str) or not is_plain_id(noted):
        raise ValueError(
            f"env: expected {source} to note a plain Gymnasium id such as 'CartPole-v1', got "
            f"{noted!r:.80}; an id that imports a module is taken from the command line only: name "
            "the environment there if you trust it"
        )
    if wrappers := metadata.get("wrappers"):
        names = wrappers if isinstance(wrappers, list) else [wrappers]
        raise ValueError(
            f"env: the agent of {source} was trained with "
            f"{', '.join(f'{name!r:.80}' for name in names[:8])} around {noted}, which no command "
            "puts there; play it with sparseagent.rollout(act, env, wrappers=[...]), or name an "
            "environment id that has them, or this one to play it as it is"
        )
    return noted


def is_plain_id(env_id: str) -> bool:
    """Whether an id imports nothing: an optional namespace with a slash, a name and version."""
    return _PLAIN_ID.fullmatch(env_id) is not None


def register_environment(env_id: str) -> None:
    """Make gymnasium know an environment of a package that does not register itself, or of ours.

    `sparseagent/CartPole-Noise200-v1` and its like are described in `distractors`.

    To be called before an id is made: gymnasium's own error for a second colon names nothing.

    MinAtar's games (`MinAtar/Breakout-v1`; v1 has the game's own actions only, v0 all six) hand out
    their planes flattened, as float32 of zeros and ones. Unlike in the package, `reset` forgets the
    last action, which a sticky action would else repeat in the next episode.

    Raises:
        ImportError: the package is not installed.
        ValueError: more than one colon in the id, or nothing on one side of it.
    """
    module, colon, name = env_id.partition(":")
    if colon and (not module or not name or ":" in name):
        raise ValueError(
            f"env: expected an environment id, or module:id with one colon, got {env_id!r}"
        )
    gymnasium = import_gymnasium()
    if env_id in gymnasium.registry:
        return
    if env_id.startswith(_OWN):
        _register_distracted(env_id)
    if not env_id.startswith(_MINATAR):
        return
    name, _, version = env_id.removeprefix(_MINATAR).rpartition("-v")
    game = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    if game not in _MINATAR_GAMES or version not in ("0", "1"):
        return  # gymnasium's own message says that there is no such environment
    gymnasium.register(
        env_id,
        entry_point=make_minatar,
        kwargs={"game": game, "use_minimal_action_set": version == "1"},
        disable_env_checker=True,
    )


def base_environment(env_id: str) -> str:
    """The environment without what `distractors` adds to it; the id itself for all others."""
    if not env_id.startswith(_OWN):
        return env_id
    from sparseagent.distractors import parse_distraction

    found = parse_distraction(env_id)
    return env_id if found is None else found.base


def observation_names(env: Any) -> tuple[str, ...] | None:
    """Names of the features of an environment's flat observations; None where it gives none.

    They come from, in this order: an attribute `observation_names` of the environment or a wrapper,
    a sequence of strings; the parts that MuJoCo's environments say their observations have; what
    `distractors` has added, around the names of the environment inside.

    Args:
        env: a gymnasium environment.

    Raises:
        ValueError: it names more or fewer features than it has.
    """
    size = int(np.prod(env.observation_space.shape))
    wrapped = env
    while wrapped is not env.unwrapped:
        if "added" in vars(wrapped):
            inside = observation_names(wrapped.env) or tuple(
                f"real {place}" for place in range(len(wrapped.real))
            )
            names: tuple[str, ...] = wrapped.named(inside)
            return names
        wrapped = wrapped.env
    if env.has_wrapper_attr("observation_names"):
        names = tuple(map(str, env.get_wrapper_attr("observation_names")))
    elif structure := getattr(env.unwrapped, "observation_structure", None):
        parts = {part: n for part, n in structure.items() if not part.startswith("skipped")}
        names = tuple(f"{part} {place}" for part, n in parts.items() for place in range(int(n)))
    else:
        return None
    if len(names) != size:
        raise ValueError(
            f"observation_names: expected one for each of the {size} features of {name_of(env)}, "
            f"got {len(names)}"
        )
    return names


def _register_distracted(env_id: str) -> None:
    from sparseagent.distractors import make_distracted, parse_distraction

    found = parse_distraction(env_id)
    if found is None:
        return  # gymnasium's own message says that there is no such environment
    import_gymnasium().register(
        env_id, entry_point=make_distracted, kwargs=asdict(found), disable_env_checker=True
    )


def make_minatar(game: str, **kwargs: Any) -> Any:
    """A MinAtar game as `register_environment` describes it."""
    gymnasium = import_gymnasium()
    logging.disable(logging.WARNING)  # the package misses seaborn, which only drawing needs
    try:
        from minatar.gym import BaseEnv
    except ImportError as error:
        raise ImportError(f"{game} needs MinAtar: pip install 'sparseagent[envs]'") from error
    finally:
        logging.disable(logging.NOTSET)

    class Forgetful(gymnasium.Wrapper):  # type: ignore[misc,name-defined]
        def reset(self, **how: Any) -> Any:
            self.unwrapped.game.last_action = 0
            return self.env.reset(**how)

    flat = gymnasium.wrappers.FlattenObservation(Forgetful(BaseEnv(game, **kwargs)))
    return gymnasium.wrappers.DtypeObservation(flat, np.float32)


def make_gymnasium(
    env_id: str,
    num_envs: int,
    vectorization: str,
    env_kwargs: Mapping[str, Any],
    wrappers: Sequence[Callable[[Any], Any]] = (),
) -> Any:
    """A gymnasium vector environment that leaves resetting to the caller, but for native ones."""
    gymnasium = import_gymnasium()
    register_environment(env_id)
    if vectorization not in ("sync", "async", "native"):
        raise ValueError(
            f"vectorization must be 'sync', 'async' or 'native', got {vectorization!r}"
        )
    if vectorization == "native":
        how: dict[str, Any] = {"vectorization_mode": "vector_entry_point"}
    else:
        # Without autoreset the loop itself resets, and can give each episode its own seed.
        disabled = gymnasium.vector.AutoresetMode.DISABLED
        how = {
            "vectorization_mode": vectorization,
            "vector_kwargs": {"autoreset_mode": disabled},
        }
    try:
        return gymnasium.make_vec(env_id, num_envs, wrappers=wrappers, **how, **env_kwargs)
    except gymnasium.error.DependencyNotInstalled:
        raise
    except gymnasium.error.Error as error:
        raise ValueError(f"env: gymnasium cannot make {env_id!r}: {error}") from error


def make_envpool(env_id: str, num_envs: int, seed: int, env_kwargs: Mapping[str, Any]) -> Any:
    """An EnvPool environment that speaks gymnasium, all its environments stepped together."""
    try:
        import envpool
    except ImportError as error:
        raise ImportError(
            "backend='envpool' needs EnvPool: pip install 'sparseagent[envs]'"
        ) from error
    if env_id not in envpool.list_all_envs():
        raise ValueError(f"env: EnvPool has no environment {env_id!r}; see envpool.list_all_envs()")
    return envpool.make(
        env_id, "gymnasium", num_envs=num_envs, seed=stream_seed(seed), **env_kwargs
    )


def name_of(env: Any) -> str:
    """The environment id, or the class where there is none."""
    spec = getattr(env, "spec", None)
    return str(getattr(spec, "id", None) or type(getattr(env, "unwrapped", env)).__name__)


def import_gymnasium() -> Any:
    """The module; raises ImportError with what to install where it is missing."""
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError("rollout needs gymnasium: pip install 'sparseagent[rollout]'") from error
    return gymnasium


def stream_seed(seed: int) -> int:
    """One seed below 2**30 for environments that count up from it, one stream each.

    Hashed, because `seed`, `seed + 1`, ... would let neighbouring seeds share most streams.
    """
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) >> 2
