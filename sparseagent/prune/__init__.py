"""Prune torch networks while they train: score x pattern x allocation x schedule.

    from sparseagent import prune

    sparsifier = prune.Sparsifier(model.policy, score=prune.Magnitude(),
                                  schedule=prune.Cubic(to=0.95))
    model.learn(500_000, callback=sparsifier.callback())

A new score or pattern is one file with one class, and one line here. Needs torch;
Stable-Baselines3 only for `Sparsifier.callback`.
"""

from sparseagent.prune.allocation import Allocation as Allocation
from sparseagent.prune.allocation import erk as erk
from sparseagent.prune.allocation import global_ as global_
from sparseagent.prune.allocation import uniform as uniform
from sparseagent.prune.connectivity import effective_weights as effective_weights
from sparseagent.prune.layer import Layer as Layer
from sparseagent.prune.neuron.contribution import NeuronContribution as NeuronContribution
from sparseagent.prune.neuron.dormancy import NeuronDormancy as NeuronDormancy
from sparseagent.prune.neuron.l1 import NeuronL1 as NeuronL1
from sparseagent.prune.neuron.l2 import NeuronL2 as NeuronL2
from sparseagent.prune.neuron.protocol import NeuronScore as NeuronScore
from sparseagent.prune.neuron.taylor import NeuronTaylor as NeuronTaylor
from sparseagent.prune.pattern.block import Block as Block
from sparseagent.prune.pattern.lane_balanced import LaneBalanced as LaneBalanced
from sparseagent.prune.pattern.n_m import NM as NM
from sparseagent.prune.pattern.protocol import Pattern as Pattern
from sparseagent.prune.pattern.unstructured import Unstructured as Unstructured
from sparseagent.prune.removal import Removed as Removed
from sparseagent.prune.removal import remove_dead_neurons as remove_dead_neurons
from sparseagent.prune.removal import remove_neurons as remove_neurons
from sparseagent.prune.schedule import Cubic as Cubic
from sparseagent.prune.schedule import OneShot as OneShot
from sparseagent.prune.schedule import Schedule as Schedule
from sparseagent.prune.score.magnitude import Magnitude as Magnitude
from sparseagent.prune.score.protocol import Score as Score
from sparseagent.prune.score.random import Random as Random
from sparseagent.prune.sparsifier import Sparsifier as Sparsifier
