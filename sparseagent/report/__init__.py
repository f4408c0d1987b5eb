"""What a study reports: statistics of returns, latencies, tables and plots.

Nothing here loads torch; matplotlib is loaded by the functions that need it.
"""

from sparseagent.bootstrap import bootstrap_interval, iqm, stratified_bootstrap_interval
from sparseagent.report.comparison import (
    mean_share_of_dense,
    normalise,
    paired_differences,
    share_of_dense,
)
from sparseagent.report.input_bars import input_bars
from sparseagent.report.interval_curve import IntervalCurve
from sparseagent.report.intervals import (
    Aggregate,
    Estimate,
    ProfileBand,
    aggregate,
    estimate,
    improvement,
    profile_band,
)
from sparseagent.report.latency import Latency, measure_latency, pin_core
from sparseagent.report.plots import (
    Curve,
    ReturnBar,
    Schedule,
    latency_bars,
    learning_curve,
    return_bars,
    sparsity_per_layer,
)
from sparseagent.report.reliability import Stability, stability, worst_decile
from sparseagent.report.statistics import (
    holm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    sign_flip_p,
)
from sparseagent.report.study_plots import (
    disturbance_curves,
    performance_profiles,
    return_against_latency,
    return_against_nonzeros,
    return_against_sparsity,
)
from sparseagent.report.table import format_interval, format_ns, format_number, markdown_table
from sparseagent.report.verdict import ENOUGH_SEEDS, Outcome, in_words, outcome_of, percent

__all__ = [
    "ENOUGH_SEEDS",
    "Aggregate",
    "Curve",
    "Estimate",
    "IntervalCurve",
    "Latency",
    "Outcome",
    "ProfileBand",
    "ReturnBar",
    "Schedule",
    "Stability",
    "aggregate",
    "bootstrap_interval",
    "disturbance_curves",
    "estimate",
    "format_interval",
    "format_ns",
    "format_number",
    "holm",
    "improvement",
    "in_words",
    "input_bars",
    "iqm",
    "latency_bars",
    "learning_curve",
    "markdown_table",
    "mean_share_of_dense",
    "measure_latency",
    "normalise",
    "optimality_gap",
    "outcome_of",
    "paired_differences",
    "percent",
    "performance_profile",
    "performance_profiles",
    "pin_core",
    "probability_of_improvement",
    "profile_band",
    "return_against_latency",
    "return_against_nonzeros",
    "return_against_sparsity",
    "return_bars",
    "share_of_dense",
    "sign_flip_p",
    "sparsity_per_layer",
    "stability",
    "stratified_bootstrap_interval",
    "worst_decile",
]
