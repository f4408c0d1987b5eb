"""Prune an agent in a plain Stable-Baselines3 script, then convert, compile and roll it out.

Two lines are added to the script: the sparsifier, and its callback. Run it with

    python examples/train_and_prune.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

import sparseagent as sa
from sparseagent import prune

ENV = "CartPole-v1"


def main(steps: int, episodes: int, out: Path) -> None:
    """Train for `steps` environment steps, write the policy to `out`, play `episodes`."""
    torch.set_num_threads(1)  # small networks are faster so
    model = PPO(
        "MlpPolicy",
        make_vec_env(ENV, n_envs=8, seed=0),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        learning_rate=LinearSchedule(1e-3, 0.0, 1.0),
        clip_range=LinearSchedule(0.2, 0.0, 1.0),
        seed=0,
        device="cpu",
    )

    sparsifier = prune.Sparsifier(
        model.policy, score=prune.Magnitude(), schedule=prune.Cubic(to=0.95, start=0.2, stop=0.8)
    )
    model.learn(steps, callback=sparsifier.callback())
    print(sparsifier.summary())

    sa.from_sb3(model, metadata={"environment": ENV}).save(out)
    # From here on torch is not needed: another process, another machine.
    act = sa.compile(sa.load(out))
    print(act.explain())
    print(sa.rollout(act, ENV, episodes=episodes, seed=0))
    print(f"policy: {out} ({out.stat().st_size:,} bytes)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("cartpole.safetensors"))
    main(**vars(parser.parse_args()))
