"""The tiny dense agent: no zeros, but as many weights as the pruned agent keeps.

The control of every pruning study (Graesser et al., 2022): if it is as good, pruning buys nothing.
"""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow, equal_weights

METHOD = Narrow("tiny", "tiny dense", equal_weights)
