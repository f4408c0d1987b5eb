"""What a rollout worker costs: little beyond NumPy and gymnasium."""

from __future__ import annotations

import subprocess
import sys

LIMIT_MB = 16
CODE = """
import re, sys
import gymnasium, numpy as np

def peak():  # getrusage would count the test runner, of which this process was forked
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

env = gymnasium.make_vec("CartPole-v1", 8, vectorization_mode="sync")
env.reset(seed=0)
env.close()
before = peak()
import sparseagent as sa

weight = np.ones((2, 4), np.float32)
layer = sa.Layer(sa.CSR.from_dense(weight), np.zeros(2, np.float32))
act = sa.compile(sa.SparsePolicy(sa.chain((layer,), sa.Observation((4,))), sa.Argmax()))
result = sa.rollout(act, "CartPole-v1", episodes=200)
assert result.ci95[0] < result.iqm < result.ci95[1]
heavy = {"torch", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
print(peak() - before)
"""


def test_a_rollout_with_its_interval_costs_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < LIMIT_MB
