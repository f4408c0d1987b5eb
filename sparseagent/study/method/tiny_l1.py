"""The tiny dense agent under a proximal L1 penalty on its input layer.

The control of methods that choose among inputs: whether that alone is what they gain by.
"""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow, equal_weights

METHOD = Narrow("tiny_l1", "tiny dense (L1 on inputs)", equal_weights, l1=True)
