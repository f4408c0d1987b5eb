"""Commands on runs: the five steps in one, each step alone, the search, the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparseagent.commands.console import (
    app,
    friendly_errors,
    open_console,
    print_table,
    resumable,
)
from sparseagent.commands.options import RunOptions, SearchOptions, takes_run_options

if TYPE_CHECKING:
    from rich.console import Console

    from sparseagent.train.pipeline import OpenRun
    from sparseagent.train.search import Candidate


@app.command()
@takes_run_options
def run(options: RunOptions) -> None:
    """Do the whole job in five steps and write a run folder with a report.

    1 choose the strategy, 2 train a dense agent, 3 train one that is pruned on the way, 4 fine-tune
    it under the frozen mask, 5 test both and a tiny dense agent with equally many weights.

    Give the same command again to go on after an interruption. Exit code 1: the sparsity was not
    reached, or the compiled policy does not act like the model.

    Example: sparseagent run --env CartPole-v1 --algo ppo --sparsity 0.95 --out runs/demo
    """
    from sparseagent.train.pipeline import complete
    from sparseagent.train.run_data import load_run
    from sparseagent.train.run_report import agent_table, latency_table, verdicts

    console = open_console()
    with _prepared(options, console) as opened:
        outcome = complete(opened)
        data = load_run(outcome.folder)
    console.print()
    header, rows = agent_table(data)
    shown = [header.index(name) for name in ("agent", "network", "weights", "sparsity")]
    shown.append(header.index("return (IQM)"))
    titles = [header[k] for k in shown[:-1]] + ["return IQM [95 % interval]"]
    print_table(console, titles, [[row[k] for k in shown] for row in rows], left=2)
    print_table(console, *latency_table(data))
    for line in verdicts(data):
        console.print(f"- {line.replace('**', '')}")
    console.print(f"\nreport: {outcome.folder / 'report.md'}")
    console.print(f"policy: {opened.folder.policy('pruned', opened.config.seeds[0])}")
    if not outcome.ok:
        raise typer.Exit(1)


@app.command()
@takes_run_options
def train(options: RunOptions) -> None:
    """Step 2 alone: train the dense agent of a run. `run` with the same options goes on from it."""
    from sparseagent.train.pipeline import train_dense

    _train_one(options, "dense", train_dense)


@app.command()
@takes_run_options
def prune(options: RunOptions) -> None:
    """Steps 3 and 4 alone: train the pruned agent of a run and fine-tune it.

    `run` with the same options goes on from it, `convert` makes a policy file of its model.
    """
    from sparseagent.train.pipeline import prune_agent

    _train_one(options, "pruned", prune_agent)


def _train_one(options: RunOptions, agent: str, step: Callable[[OpenRun, int], None]) -> None:
    """Do one training step of a run, for all its seeds."""
    from sparseagent.train.pipeline import collect_curves, one_thread

    console = open_console()
    with _prepared(options, console) as opened:
        with one_thread():
            for seed in opened.config.seeds:
                step(opened, seed)
                console.print(f"model: {opened.folder.model(agent, seed)}")
        collect_curves(opened)


@contextmanager
def _prepared(options: RunOptions, console: Console) -> Iterator[OpenRun]:
    """A run, its folder ours alone; one line where that is in use or damaged, or the disk is full.

    Any other error in a training is a defect of the program, and shows where it comes from.
    """
    from sparseagent.train.folder import FolderError
    from sparseagent.train.pipeline import prepared
    from sparseagent.train.progress import Display

    with ExitStack() as held:
        with friendly_errors():
            opened = held.enter_context(
                prepared(
                    options.to_config(),
                    overwrite=options.overwrite,
                    trust=options.trust_folder,
                    display=Display(console),
                )
            )
        held.enter_context(resumable())
        try:
            yield opened
        except (FolderError, OSError) as error:
            with friendly_errors():
                raise error


@app.command()
@takes_run_options
def search(options: SearchOptions) -> None:
    """Search for the sparsest agent that keeps 97 % of the dense one's return.

    Trains the dense agent, then pruned ones that differ in sparsity and allocation, each with all
    seeds; latency is the second objective. Give the same command again to go on after an
    interruption. --sparsity is not used; --allocation and --critic-sparsity, where given, are those
    of all candidates. Exit code 1: no candidate was good enough.

    Example: sparseagent search --env CartPole-v1 --seed 0 --seed 1 --trials 30 --out runs/search
    """
    from sparseagent.train.progress import Display
    from sparseagent.train.search_run import policy_of, search_run

    console = open_console()
    with friendly_errors(), resumable():
        config = options.to_config()
        found = search_run(
            config,
            options.trials,
            share=options.share,
            allocations=None if options.allocation is None else (options.allocation,),
            overwrite=options.overwrite,
            trust=options.trust_folder,
            display=Display(console),
        )
    header = ["allocation", "actor sparsity", "critic sparsity", "return (IQM)", "one call"]
    console.print("good enough, none both sparser and faster:")
    print_table(console, header, [_candidate_row(candidate) for candidate in found.front])
    console.print(f"candidates: {Path(config.out) / 'candidates.csv'}")
    if found.best is None:
        raise typer.Exit(1)
    console.print(f"policy: {policy_of(config, found.best.choice)}")


def _candidate_row(candidate: Candidate) -> tuple[str, ...]:
    choice = candidate.choice
    return (
        choice.allocation,
        f"{choice.actor_sparsity:.4f}",
        "-" if choice.critic_sparsity is None else f"{choice.critic_sparsity:.4f}",
        f"{candidate.iqm:.1f}",
        f"{candidate.latency:.0f} ns",
    )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Write report.md and its plots again from the raw files of a run."""
    from sparseagent.train.run_report import write_report

    with friendly_errors():
        path = write_report(folder)
    open_console().print(f"report: {path}")
