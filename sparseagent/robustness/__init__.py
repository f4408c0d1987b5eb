"""What a policy returns where things are not as in training: noisy observations, changed physics.

    table = robustness(act, "CartPole-v1", episodes=100)
    for row in table.rows:
        print(row.disturbance, row.level, row.mean, row.change)

It needs gymnasium and no torch.
"""

from sparseagent.robustness.disturbance import Disturbance, Setting
from sparseagent.robustness.measure import RobustnessRow, RobustnessTable, robustness
from sparseagent.robustness.noise import NOISE_LEVELS, observation_noise, observation_std
from sparseagent.robustness.parameters import changed_argument, changed_parameter, parameters_of

__all__ = [
    "NOISE_LEVELS",
    "Disturbance",
    "RobustnessRow",
    "RobustnessTable",
    "Setting",
    "changed_argument",
    "changed_parameter",
    "observation_noise",
    "observation_std",
    "parameters_of",
    "robustness",
]
