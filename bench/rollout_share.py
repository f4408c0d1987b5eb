"""What the policy costs in a rollout: `python -m bench.rollout_share runs/demo`.

Plays the same episodes with the compiled policy of a run folder, and with the dense agent it was
trained beside, compiled as well and by `model.predict`, alone and in a vector of environments: what
compiling gains, and what pruning gains beyond it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import sparseagent as sa


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line for each policy and number of environments."""
    parser = argparse.ArgumentParser(prog="python -m bench.rollout_share", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder written by `sparseagent run`")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args(arguments)
    import stable_baselines3 as sb3

    config = json.loads((options.folder / "config.json").read_text())
    if config["normalize"]:
        parser.error("folder: expected a run without VecNormalize, which model.predict leaves out")
    algorithm = getattr(sb3, config["algo"].upper())
    dense = algorithm.load(options.folder / "dense.zip", device="cpu")
    policies = {
        "pruned, compiled": sa.compile(sa.load(options.folder / "policy.safetensors")),
        "dense, compiled": sa.compile(sa.from_sb3(dense, vecnormalize=False)),
        "dense, model.predict": dense,
    }
    print(f"{config['env']}, {options.episodes} episodes")
    print(f"{'environments':<14}{'policy':<22}{'steps/s':>10}{'share of the policy':>21}")
    for count in options.num_envs:
        for name, act in policies.items():
            result = sa.rollout(act, config["env"], episodes=options.episodes, num_envs=count)
            speed, share = result.steps_per_second, result.policy_share
            print(f"{count:<14}{name:<22}{speed:>10,.0f}{share:>21.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
