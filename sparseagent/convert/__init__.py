"""From torch modules and agents to a SparsePolicy: the only place that sees torch and CSR."""

from sparseagent.convert.agent import MasksWarning, from_agent, from_sb3, why_not
from sparseagent.convert.beside import NormaliserWarning
from sparseagent.convert.torch_agent import from_torch

__all__ = ["MasksWarning", "NormaliserWarning", "from_agent", "from_sb3", "from_torch", "why_not"]
