"""Prune torch networks while they train: score x pattern x allocation x schedule.

    from sparseagent import prune

    sparsifier = prune.Sparsifier(model.policy, score=prune.Magnitude(),
                                  schedule=prune.Cubic(to=0.95))
    model.learn(500_000, callback=sparsifier.callback())

A new score, growth, pattern, neuron score or penalty is one file with one class, and one line here.
Needs torch; Stable-Baselines3 only for `Sparsifier.callback`.
"""

from sparseagent import extras as _extras

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as _error:
    raise _extras.needed(_error, "sparseagent.prune") from None

from sparseagent.prune.allocation import Allocation as Allocation
from sparseagent.prune.allocation import erk as erk
from sparseagent.prune.allocation import global_ as global_
from sparseagent.prune.allocation import lamp as lamp
from sparseagent.prune.allocation import uniform as uniform
from sparseagent.prune.automatic import Automatic as Automatic
from sparseagent.prune.connectivity import effective_weights as effective_weights
from sparseagent.prune.contribution_report import Contributions as Contributions
from sparseagent.prune.contribution_report import contributions as contributions
from sparseagent.prune.drop import CosineDrop as CosineDrop
from sparseagent.prune.drop import Drop as Drop
from sparseagent.prune.foreign_masks import found_masks as found_masks
from sparseagent.prune.growth.gradient_growth import GradientGrowth as GradientGrowth
from sparseagent.prune.growth.input_growth import InputGrowth as InputGrowth
from sparseagent.prune.growth.protocol import Growth as Growth
from sparseagent.prune.growth.random_growth import RandomGrowth as RandomGrowth
from sparseagent.prune.layer import Layer as Layer
from sparseagent.prune.layer_removal import remove_layer as remove_layer
from sparseagent.prune.model import Pruned as Pruned
from sparseagent.prune.model import prune_model as prune_model
from sparseagent.prune.neuron.contribution import NeuronContribution as NeuronContribution
from sparseagent.prune.neuron.dormancy import NeuronDormancy as NeuronDormancy
from sparseagent.prune.neuron.l1 import NeuronL1 as NeuronL1
from sparseagent.prune.neuron.l2 import NeuronL2 as NeuronL2
from sparseagent.prune.neuron.protocol import NeuronScore as NeuronScore
from sparseagent.prune.neuron.taylor import NeuronTaylor as NeuronTaylor
from sparseagent.prune.observation import Observer as Observer
from sparseagent.prune.pattern.block import Block as Block
from sparseagent.prune.pattern.connected import Connected as Connected
from sparseagent.prune.pattern.fan_in import FanIn as FanIn
from sparseagent.prune.pattern.hybrid import Hybrid as Hybrid
from sparseagent.prune.pattern.lane_balanced import LaneBalanced as LaneBalanced
from sparseagent.prune.pattern.n_m import NM as NM
from sparseagent.prune.pattern.protocol import Pattern as Pattern
from sparseagent.prune.pattern.unstructured import Unstructured as Unstructured
from sparseagent.prune.pattern.whole_neurons import WholeNeurons as WholeNeurons
from sparseagent.prune.penalising import penalise as penalise
from sparseagent.prune.penalty.contribution import ContributionPenalty as ContributionPenalty
from sparseagent.prune.penalty.group_lasso import GroupLasso as GroupLasso
from sparseagent.prune.penalty.input_lasso import InputLasso as InputLasso
from sparseagent.prune.penalty.l1 import L1Penalty as L1Penalty
from sparseagent.prune.penalty.l2 import L2Penalty as L2Penalty
from sparseagent.prune.penalty.protocol import Penalty as Penalty
from sparseagent.prune.penalty.proximal_l1 import ProximalL1 as ProximalL1
from sparseagent.prune.reach import PruningWarning as PruningWarning
from sparseagent.prune.removal import Removed as Removed
from sparseagent.prune.removal import remove_dead_neurons as remove_dead_neurons
from sparseagent.prune.removal import remove_neurons as remove_neurons
from sparseagent.prune.schedule import Cubic as Cubic
from sparseagent.prune.schedule import Geometric as Geometric
from sparseagent.prune.schedule import OneShot as OneShot
from sparseagent.prune.schedule import Schedule as Schedule
from sparseagent.prune.score.drift import Drift as Drift
from sparseagent.prune.score.fisher import Fisher as Fisher
from sparseagent.prune.score.input_norm import InputNorm as InputNorm
from sparseagent.prune.score.magnitude import Magnitude as Magnitude
from sparseagent.prune.score.movement import Movement as Movement
from sparseagent.prune.score.protocol import Score as Score
from sparseagent.prune.score.random import Random as Random
from sparseagent.prune.score.snip import Snip as Snip
from sparseagent.prune.score.taylor import Taylor as Taylor
from sparseagent.prune.selection import First as First
from sparseagent.prune.selection import Hidden as Hidden
from sparseagent.prune.selection import Top as Top
from sparseagent.prune.shrinking import shrink as shrink
from sparseagent.prune.sparsifier import Sparsifier as Sparsifier
from sparseagent.prune.tickets import Ticket as Ticket
from sparseagent.prune.tickets import lottery as lottery
from sparseagent.prune.warmup import Warmup as Warmup
