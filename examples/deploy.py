"""Act with a policy file: NumPy and the compiled core, no torch, no gymnasium.

python examples/deploy.py cartpole.safetensors
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import sparseagent as sa


def main(policy: Path, decisions: int) -> None:
    """Load a policy file and decide `decisions` times."""
    loaded = sa.load(policy)  # checks every byte, and that this machine gives the same numbers
    act = sa.compile(loaded)
    print(loaded.summary())

    # Stands for a sensor: observations of the shape and type that the environment hands out.
    random = np.random.default_rng(0)
    shape, dtype = loaded.observation.shape, np.dtype(loaded.observation.dtype)
    observations = random.standard_normal((64, *shape)).astype(dtype)

    began = time.perf_counter()
    for step in range(decisions):
        action, _ = act.predict(observations[step % len(observations)])
    microseconds = (time.perf_counter() - began) / decisions * 1e6
    print(f"last action {action}; {microseconds:.2f} µs a decision, observation step and head in")
    assert "torch" not in sys.modules


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--decisions", type=int, default=100_000)
    main(**vars(parser.parse_args()))
