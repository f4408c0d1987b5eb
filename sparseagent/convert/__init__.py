"""From torch and Stable-Baselines3 to a SparsePolicy: the only place that sees torch and CSR."""

from sparseagent.convert.agent import from_sb3
from sparseagent.convert.beside import NormaliserWarning
from sparseagent.convert.torch_agent import from_torch

__all__ = ["NormaliserWarning", "from_sb3", "from_torch"]
