"""What `FastRollouts` gains of a training, and that it learns alike: `python -m bench.training`.

PPO with the library's own settings and one environment, with and without the callback, seed by seed
in turns: CPU time of `learn`, and the return of the trained agents over 50 test episodes.
The plan draws other random numbers, so trainings differ; what is compared is the return over seeds.
The test plays the compiled policy, on the same starts for both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import sparseagent as sa
from bench import sheet
from bench.machine import describe
from bench.run import isa_name
from sparseagent.bootstrap import bootstrap_interval

#: Steps of training, by environment.
TRAININGS = {"CartPole-v1": 30_000, "HalfCheetah-v5": 60_000}
EPISODES = 50


@dataclass(frozen=True)
class Training:
    """One seed in one environment.

    Attributes:
        env: environment id.
        seed: of the training.
        steps: of the training.
        torch_s: CPU time of `learn` as the library does it.
        fast_s: the same with `FastRollouts`.
        speedup: `torch_s / fast_s`.
        torch_return: mean return of the agent that was trained without.
        fast_return: of the one that was trained with it.
    """

    env: str
    seed: int
    steps: int
    torch_s: float
    fast_s: float
    speedup: float
    torch_return: float
    fast_return: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the CSV, print medians and intervals."""
    parser = sheet.arguments("training", __doc__)
    parser.add_argument("--envs", nargs="+", choices=list(TRAININGS), default=list(TRAININGS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a short look")
    options = parser.parse_args(arguments)
    machine, isa = describe(options.core), isa_name(options.isa)
    rows = [
        train(env, seed, int(TRAININGS[env] * options.share))
        for env in options.envs
        for seed in range(options.seeds)
    ]
    sheet.write(options.out, rows, machine, isa)
    print(options.out)
    for env in options.envs:
        print(summary([row for row in rows if row.env == env]))
    return 0


def train(env: str, seed: int, steps: int) -> Training:
    """Both trainings of one seed, the first one taking turns."""
    import torch

    torch.set_num_threads(1)
    taken, returns = {}, {}
    for fast in (False, True) if seed % 2 else (True, False):
        taken[fast], returns[fast] = _train(env, seed, steps, fast=fast)
    return Training(
        env,
        seed,
        steps,
        taken[False],
        taken[True],
        taken[False] / taken[True],
        returns[False],
        returns[True],
    )


def _train(env: str, seed: int, steps: int, *, fast: bool) -> tuple[float, float]:
    """CPU seconds of the training, and the mean return of the agent."""
    from stable_baselines3 import PPO

    from sparseagent.train import FastRollouts

    model = PPO("MlpPolicy", env, seed=seed, device="cpu")
    start = time.process_time()
    model.learn(steps, callback=FastRollouts() if fast else None)
    taken = time.process_time() - start
    act = sa.compile(sa.from_sb3(model))
    return taken, sa.rollout(act, env, episodes=EPISODES, seed=1_000).mean


def summary(rows: Sequence[Training]) -> str:
    """One line on an environment."""
    returns = [np.array([getattr(r, f"{who}_return") for r in rows]) for who in ("torch", "fast")]
    both = [f"{given.mean():.0f} {_interval(given)}" for given in returns]
    return (
        f"{rows[0].env}: {np.median([row.speedup for row in rows]):.2f}x of the whole training; "
        f"return without {both[0]}, with {both[1]}, {len(rows)} seeds"
    )


def _interval(returns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    if len(returns) < 3:
        return "(too few seeds for an interval)"
    low, high = bootstrap_interval(returns, seed=0)
    return f"[{low:.0f}, {high:.0f}]"


if __name__ == "__main__":
    raise SystemExit(main())
