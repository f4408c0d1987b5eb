"""The tiny dense agent whose critic is as narrow as its actor.

The control of methods that prune the critic as far as the actor.
"""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow, equal_weights

METHOD = Narrow("tiny_both", "tiny dense (critic alike)", equal_weights, narrow_critic=True)
