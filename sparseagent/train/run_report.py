"""`report.md` of a run, written from the raw files of its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparseagent.report import Latency, format_ns, markdown_table
from sparseagent.train.config import RunConfig
from sparseagent.train.records import write_text
from sparseagent.train.run_data import LABELS, RunData, load_run
from sparseagent.train.run_plots import draw_plots

_WHAT_IS_TIMED = (
    "One observation, one thread, one core; the contenders take turns in one process, so that "
    "whatever disturbs the machine disturbs all of them. The networks normalise the observation "
    "where the policy does and stop before the action head; `model.predict` of "
    "Stable-Baselines3 includes it. The compiled ones write into an array that is reused. Absolute "
    "times do not travel to other machines."
)

#: Below so many training seeds the report speaks of these trainings alone.
_VERDICT_SEEDS = 3


def write_report(root: Path) -> Path:
    """Draw the plots and write `report.md`; gives its path."""
    run = load_run(root)
    draw_plots(run)
    path = root / "report.md"
    write_text(path, "\n".join(_sections(run)))
    return path


def verdicts(run: RunData) -> list[str]:
    """What came out, in a few sentences: the first lines of the report."""
    row = run.first_row("pruned")
    size = (
        f"The pruned network keeps {int(row['kept']):,} of {int(row['weights']):,} weights "
        f"(sparsity {float(row['sparsity']):.4g}), of which {int(row['effective']):,} lie on a "
        "path from an input to an output."
    )
    enough = len(run.config.seeds) >= _VERDICT_SEEDS
    lines = [*(_verdict(run) if enough else _this_training(run)), size]
    return [*lines, _scope(run.config), *_resumed(run), *_failures(run)]


def _verdict(run: RunData) -> list[str]:
    """Whether pruning paid, over several seeds."""
    pruned, dense, tiny = (run.returns[name] for name in ("pruned", "dense", "tiny"))
    against_dense = {
        "equal": "The pruned agent is as good as the dense one",
        "better": "The pruned agent is better than the dense one",
        "worse": "The pruned agent is worse than the dense one",
    }[run.pruned_minus_dense.verdict]
    against_tiny = {
        "equal": "The tiny dense agent with as many weights is as good as the pruned one: here "
        "pruning buys nothing that a smaller network would not",
        "worse": "The tiny dense agent with as many weights is better than the pruned one: here "
        "a smaller network is the better choice",
        "better": "The tiny dense agent with as many weights is worse than the pruned one: here "
        "pruning pays",
    }[run.pruned_minus_tiny.verdict]
    return [
        f"{against_dense}: return {pruned} against {dense} (difference {run.pruned_minus_dense}).",
        f"**{against_tiny}**: {tiny} (difference pruned - tiny {run.pruned_minus_tiny}).",
    ]


def _this_training(run: RunData) -> list[str]:
    """What the agents of one or two trainings returned: too few to say what pruning does."""
    pruned, dense, tiny = (run.returns[name] for name in ("pruned", "dense", "tiny"))
    count = len(run.config.seeds)
    these = "In this one training" if count == 1 else f"In these {count} trainings"
    return [
        f"{these} the pruned agent returned {pruned}, the dense one {dense} (difference "
        f"{run.pruned_minus_dense}), the tiny dense one with as many weights {tiny} (difference "
        f"pruned - tiny {run.pruned_minus_tiny}).",
        f"What pruning does to the return cannot be told from fewer than {_VERDICT_SEEDS} "
        "training seeds.",
    ]


def _resumed(run: RunData) -> list[str]:
    """A sentence on agents whose training was broken off and could not go on exactly."""
    resumed = [row for row in run.tables.agents if row["resumed"] == "True"]
    agents = [f"{row['agent']} (seed {row['seed']})" for row in resumed]
    if not agents:
        return []
    return [
        f"Resumed from a checkpoint that could not hold the whole state of the training: "
        f"{', '.join(agents)}. A run without a break gives other numbers."
    ]


def agent_table(run: RunData) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the main table, one row per agent."""
    header = ["agent", "network", "weights", "effective", "sparsity", "return (IQM)", "mean"]
    header += ["worst", "steps", "training"]
    rows = []
    for agent, found in run.returns.items():
        row = run.first_row(agent)
        rows.append(
            [
                LABELS[agent],
                row["network"],
                f"{int(row['kept']):,}",
                f"{int(row['effective']):,}",
                f"{float(row['sparsity']):.4g}",
                str(found),
                f"{found.mean:.1f} ± {found.std:.1f}",
                f"{found.worst:.1f}",
                f"{int(row['timesteps']):,}",
                f"{float(row['seconds']):.0f} s",
            ]
        )
    return header, rows


def latency_table(run: RunData) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the run's latency table."""
    return latency_rows(run.latencies)


def latency_rows(latencies: Sequence[Latency]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a latency table; the first contender is the measure."""
    base = latencies[0].p50_ns
    header = ["contender", "p50", "p99", "p50 relative"]
    rows = [
        [
            latency.name,
            format_ns(latency.p50_ns),
            format_ns(latency.p99_ns),
            f"{latency.p50_ns / base:.2f}",
        ]
        for latency in latencies
    ]
    return header, rows


def _sections(run: RunData) -> list[str]:
    config = run.config
    right = ["left"] * 2 + ["right"] * 8
    return [
        f"# {config.env}, {config.algo.upper()}, sparsity {config.sparsity:g}\n",
        "\n".join(f"- {line}" for line in verdicts(run)) + "\n",
        "## Agents\n",
        markdown_table(*agent_table(run), align=right),  # type: ignore[arg-type]
        _about_the_agents(run),
        "![Return of each agent](plots/returns.png)\n",
        "## Strategy\n",
        "\n\n".join(str(run.strategy[key]) for key in ("what", "how", "why")) + "\n",
        "## Learning\n",
        "![Learning curves](plots/learning_curve.png)\n",
        "Returns of training episodes, with exploration, as a moving average; every episode is in "
        "`learning_curve.csv`.\n",
        "## Latency\n",
        markdown_table(*latency_table(run), align=["left", "right", "right", "right"]),
        _WHAT_IS_TIMED + "\n",
        "![Latency](plots/latency.png)\n",
        "## Sparsity of each layer\n",
        _layer_table(run),
        "![Sparsity of each layer](plots/layers.png)\n",
        "## Does the compiled policy act like the model?\n",
        _parity_table(run),
        "Observations of the environment, every second action a random one. Discrete actions must "
        "be equal, continuous ones within 1e-5 of their scale.\n",
        "## Machine and versions\n",
        markdown_table(["", ""], [[key, value] for key, value in run.machine.items()]),
    ]


def _about_the_agents(run: RunData) -> str:
    seeds = run.config.seeds
    listed = ", ".join(str(seed) for seed in seeds)
    of_first = "" if len(seeds) == 1 else " (those of the first seed)"
    return (
        f"Return: interquartile mean over {run.returns['pruned'].episodes:,} test episodes with "
        f"its 95 % bootstrap interval; training seed{'s' if len(seeds) > 1 else ''} {listed}. "
        "Weights: kept ones of the acting network, biases not counted; effective: on a path from "
        f"an input to an output{of_first}. All agents are tested through the compiled policy, with "
        "deterministic actions, from the same starts.\n"
    )


def _scope(config: RunConfig) -> str:
    if len(config.seeds) == 1:
        return (
            "The interval covers the episodes of this one training; another training seed may come "
            "out differently by more than that."
        )
    return "The interval covers training seeds and episodes."


def _failures(run: RunData) -> list[str]:
    lines = []
    if not run.tables.reached:
        lines.append(f"**FAILED: the sparsity {run.config.sparsity:g} was not reached.**")
    if differing := run.tables.differing:
        names = ", ".join(sorted({row["agent"] for row in differing}))
        lines.append(f"**FAILED: the compiled policy does not act like the model ({names}).**")
    return lines


def _layer_table(run: RunData) -> str:
    header = ["seed", "part", "layer", "inputs", "outputs", "weights", "kept", "sparsity"]
    rows = [[row[name] for name in header] for row in run.tables.layers]
    return markdown_table(header, rows, align=["right", "left", "left", *["right"] * 5])  # type: ignore[list-item]


def _parity_table(run: RunData) -> str:
    header = ["agent", "seed", "observations", "different actions", "largest distance"]
    rows = [
        [
            LABELS[row["agent"]],
            row["seed"],
            row["observations"],
            row["different"],
            f"{float(row['largest']):.1e}",
        ]
        for row in run.tables.parities
    ]
    return markdown_table(header, rows, align=["left", *["right"] * 4])  # type: ignore[list-item]
