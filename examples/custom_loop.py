"""Prune in a training loop of one's own: the sparsifier works through a hook of the optimizer.

The loop is REINFORCE (Williams, 1992) with normalised returns on CartPole, in plain torch:

    python examples/custom_loop.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import nn

import sparseagent as sa
from sparseagent import prune

ENV = "CartPole-v1"
GAMMA = 0.99


def play(
    env: gymnasium.Env, network: nn.Module, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One episode: observations `[T, in]`, actions `[T]` and discounted returns to go `[T]`."""
    observation, _ = env.reset()
    observations, actions, rewards, done = [], [], [], False
    while not done:
        with torch.no_grad():
            logits = network(torch.from_numpy(observation)).numpy()
        action = int(np.argmax(logits + random.gumbel(size=logits.size)))  # a softmax sample
        observations.append(observation)
        actions.append(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        done = terminated or truncated
    to_go = np.zeros(len(rewards) + 1, np.float32)
    for step in reversed(range(len(rewards))):
        to_go[step] = rewards[step] + GAMMA * to_go[step + 1]
    return np.stack(observations), np.array(actions), to_go[:-1]


def main(updates: int, episodes: int, out: Path) -> None:
    """Make `updates` gradient updates of four episodes each, then test the compiled policy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    env = gymnasium.make(ENV)
    env.reset(seed=0)
    network = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    network.append(nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    sparsifier = prune.Sparsifier(network, score=prune.Magnitude(), schedule=prune.Cubic(to=0.9))
    sparsifier.attach(optimizer, total_updates=updates)

    for update in range(updates):
        played = [play(env, network, random) for _ in range(4)]
        observations, actions, returns = (
            torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*played, strict=True)
        )
        advantages = (returns - returns.mean()) / (returns.std() + 1e-8)
        losses = nn.functional.cross_entropy(network(observations), actions, reduction="none")
        loss = (advantages * losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()  # prunes, and keeps the pruned weights at zero
        if update % 20 == 0:
            length = len(returns) / len(played)
            print(f"update {update}: return {length:.0f}, sparsity {sparsifier.sparsity():.3f}")
    env.close()

    print(sparsifier.summary())
    space = env.observation_space
    observation = sa.Observation(space.shape, str(space.dtype))
    policy = sa.from_torch(network, observation=observation, head=sa.Argmax())
    policy.save(out)
    print(sa.rollout(sa.compile(policy), ENV, episodes=episodes, seed=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("custom.safetensors"))
    main(**vars(parser.parse_args()))
