"""Automatic Noise Filtering: the input layer alone is sparse, by SET, from the start.

Grooten et al., 2023; their sparsity is .8 and their share 5 % at every change. Here the share falls
to 0 where pruning stops, so that the masks of the test are final. The sparsity is that of the input
layers of actor and critic; other layers stay dense, so the agent keeps more weights than others of
its sparsity.
"""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike(
    "anf",
    "SET on inputs (ANF)",
    {
        "schedule": "early",
        "grow": "random",
        "drop_fraction": 0.05,
        "prune_start": 0.0,
        "layers": "first",
    },
    must_reach=False,
)
