"""Gradual magnitude pruning of actor and critic alike: what sparing the critic is compared with.

So PPO was pruned where it lost most (Graesser et al., 2022).
"""

from __future__ import annotations

from sparseagent.study.method.alike import Alike

METHOD = Alike("gmp_critic", "gradual magnitude (critic alike)")
