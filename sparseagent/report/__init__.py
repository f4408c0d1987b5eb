"""What a study reports: statistics of returns, latencies, tables and plots.

Nothing here loads torch; matplotlib and SciPy are loaded by the functions that need them.
"""

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
from sparseagent.report.statistics import (
    bootstrap_interval,
    iqm,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap_interval,
)
from sparseagent.report.table import format_interval, format_ns, format_number, markdown_table

__all__ = [
    "Curve",
    "Latency",
    "ReturnBar",
    "Schedule",
    "bootstrap_interval",
    "format_interval",
    "format_ns",
    "format_number",
    "iqm",
    "latency_bars",
    "learning_curve",
    "markdown_table",
    "measure_latency",
    "performance_profile",
    "pin_core",
    "probability_of_improvement",
    "return_bars",
    "sparsity_per_layer",
    "stratified_bootstrap_interval",
]
