"""The commands of `sparseagent`: the five steps in one, each step alone, studies, policy files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sparseagent.train.options import RunOptions, SearchOptions, takes_run_options

if TYPE_CHECKING:
    from sparseagent.policy import SparsePolicy
    from sparseagent.train.pipeline import OpenRun

app = typer.Typer(
    name="sparseagent",
    help="Train, prune, convert, compile and compare deep-RL agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
PolicyFile = Annotated[
    Path, typer.Argument(help="A policy file (.safetensors), as `run` or `convert` write it.")
]


def _console(*, error: bool = False) -> Console:
    console = Console(stderr=error)
    # A pipe has no width; 80 columns would break the tables.
    return console if console.is_terminal else Console(stderr=error, width=120)


@contextmanager
def _friendly_errors() -> Iterator[None]:
    """Bad input is answered with one line and exit code 2, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        _console(error=True).print(f"error: {error}", style="bold red", markup=False)
        raise typer.Exit(2) from error


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
    from sparseagent.train.pipeline import complete, prepare
    from sparseagent.train.progress import Display
    from sparseagent.train.run_data import load_run
    from sparseagent.train.run_report import agent_table, latency_table, verdicts

    console = _console()
    with _friendly_errors():
        config = options.to_config()
        opened = prepare(config, overwrite=options.overwrite, display=Display(console))
    outcome = complete(opened)
    data = load_run(outcome.folder)
    console.print()
    header, rows = agent_table(data)
    shown = [header.index(name) for name in ("agent", "network", "weights", "sparsity")]
    shown.append(header.index("return (IQM)"))
    titles = [header[k] for k in shown[:-1]] + ["return IQM [95 % interval]"]
    _print_table(console, titles, [[row[k] for k in shown] for row in rows], left=2)
    _print_table(console, *latency_table(data))
    for line in verdicts(data):
        console.print(f"- {line.replace('**', '')}", markup=False, highlight=False)
    console.print(f"\nreport: {outcome.folder / 'report.md'}", highlight=False, markup=False)
    console.print(f"policy: {opened.folder.policy('pruned', config.seeds[0])}", highlight=False)
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
    from sparseagent.train.pipeline import collect_curves, one_thread, prepare
    from sparseagent.train.progress import Display

    console = _console()
    with _friendly_errors():
        config = options.to_config()
        opened = prepare(config, overwrite=options.overwrite, display=Display(console))
    with one_thread():
        for seed in config.seeds:
            step(opened, seed)
            console.print(f"model: {opened.folder.model(agent, seed)}", highlight=False)
    collect_curves(opened)


@app.command()
@takes_run_options
def search(options: SearchOptions) -> None:
    """Search for the sparsest agent that keeps 97 % of the dense one's return.

    Trains the dense agent, then pruned ones that differ in sparsity and allocation, each with all
    seeds; latency is the second objective. Give the same command again to go on after an
    interruption. --sparsity is not used. Exit code 1: no candidate was good enough.

    Example: sparseagent search --env CartPole-v1 --seed 0 --seed 1 --trials 30 --out runs/search
    """
    from sparseagent.train.progress import Display
    from sparseagent.train.search_run import policy_of, search_run

    console = _console()
    with _friendly_errors():
        config = options.to_config()
        found = search_run(config, options.trials, share=options.share, display=Display(console))
    header = ["allocation", "actor sparsity", "critic sparsity", "return (IQM)", "one call"]
    rows = [
        (
            candidate.choice.allocation,
            f"{candidate.choice.actor_sparsity:.4f}",
            "-" if (critic := candidate.choice.critic_sparsity) is None else f"{critic:.4f}",
            f"{candidate.iqm:.1f}",
            f"{candidate.latency:.0f} ns",
        )
        for candidate in found.front
    ]
    console.print("good enough, none both sparser and faster:", highlight=False)
    _print_table(console, header, rows)
    console.print(
        f"candidates: {Path(config.out) / 'candidates.csv'}", highlight=False, markup=False
    )
    if found.best is None:
        raise typer.Exit(1)
    console.print(f"policy: {policy_of(config, found.best.choice)}", highlight=False, markup=False)


@app.command()
def convert(
    *,
    model: Annotated[Path, typer.Argument(help="The zip that Stable-Baselines3's save wrote.")],
    out: Annotated[
        Path | None, typer.Argument(help="The policy file to write. Default: <model>.safetensors.")
    ] = None,
    vecnormalize: Annotated[
        Path | None,
        typer.Option(help="The file that VecNormalize.save wrote, if training normalised."),
    ] = None,
    algo: Annotated[
        str | None, typer.Option(help="The algorithm, where the zip does not tell.")
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="The hidden activation, where the zip does not tell.")
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="Environment id to note in the file, for `rollout`.")
    ] = None,
) -> None:
    """Convert a Stable-Baselines3 model to a policy file; nothing of the zip is executed."""
    import sparseagent as sa

    target = model.with_suffix(".safetensors") if out is None else out
    with _friendly_errors():
        policy = sa.from_sb3(
            model,
            vecnormalize=vecnormalize,
            algo=algo,
            activation=activation,
            metadata={} if env is None else {"environment": env},
        )
        policy.save(target)
    console = _console()
    console.print(policy.summary(), highlight=False, markup=False)
    console.print(f"policy: {target} ({target.stat().st_size:,} bytes)", highlight=False)


@app.command()
def rollout(
    *,
    policy: PolicyFile,
    env: Annotated[
        str | None, typer.Argument(help="Environment id. Default: the one noted in the file.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes to play.")] = 100,
    num_envs: Annotated[int, typer.Option(help="Environments stepped together.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the episodes.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the compiled policy.")] = 1,
) -> None:
    """Play episodes with a policy file: return with its 95 % interval, steps per second."""
    import sparseagent as sa

    with _friendly_errors():
        loaded = sa.load(policy)
        name = env or loaded.metadata.get("environment")
        if not name:
            raise ValueError("env: expected an environment id, for the file names none")
        act = sa.compile(loaded, threads=threads)
        result = sa.rollout(act, name, episodes=episodes, num_envs=num_envs, seed=seed)
    _console().print(str(result), highlight=False, markup=False)


@app.command()
def robustness(
    *,
    policies: Annotated[
        list[Path],
        typer.Argument(metavar="POLICY...", help="Policy files, or folders of them."),
    ],
    out: Annotated[Path, typer.Option(help="The CSV table to write.")],
    env: Annotated[
        str | None, typer.Option(help="Environment id. Default: the one noted in the files.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="The plot to write. Default: the table's name with .png.")
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise on observations, in standard deviations; may be repeated, 0 for none. "
            "Default: 0.1, 0.2, 0.5, 1 and 2."
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="A parameter to change; may be repeated. Default: all that are known."),
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes for each level.")] = 100,
    num_envs: Annotated[int, typer.Option(help="Environments stepped together.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the episodes and of the noise.")] = 0,
) -> None:
    """Measure the return under noisy observations and changed physics: a table and a plot.

    All policies play the same episodes, under the same noise.

    Example: sparseagent robustness runs/demo/policies --env CartPole-v1 --out robustness.csv
    """
    from sparseagent.robustness import NOISE_LEVELS
    from sparseagent.train.robustness_files import draw_robustness, measure_files, policy_files

    console = _console()
    picture = out.with_suffix(".png") if plot is None else plot
    with _friendly_errors():
        if picture.suffix != ".png":  # before hours of playing
            raise ValueError(f"plot: expected a name that ends in .png, got {picture.name!r}")
        measure_files(
            policy_files(policies),
            out,
            env=env,
            noise_levels=NOISE_LEVELS if noise is None else sorted(set(noise) - {0.0}),
            parameters=parameter,
            episodes=episodes,
            num_envs=num_envs,
            seed=seed,
            say=lambda line: console.print(line, highlight=False, markup=False),
        )
        draw_robustness(out, picture)
    console.print(f"table: {out}\nplot: {picture}", highlight=False, markup=False)


@app.command()
def bench(
    policy: PolicyFile,
    batch: Annotated[
        list[int] | None, typer.Option(help="Observations in a call; may be repeated. Default: 1.")
    ] = None,
    calls: Annotated[int, typer.Option(help="Timed calls of each contender.")] = 5_000,
) -> None:
    """Time a policy file against our dense kernels, NumPy and, where installed, torch.

    All contenders run in this process, on one core, in turns.
    """
    from sparseagent import load
    from sparseagent.train.contenders import bench_policy
    from sparseagent.train.run_report import latency_rows

    console = _console()
    with _friendly_errors():
        loaded = load(policy)
        for size in batch or [1]:
            header, rows = latency_rows(bench_policy(loaded, size, calls))
            console.print(f"batch {size}, {calls:,} calls each", highlight=False)
            _print_table(console, header, rows)
    console.print(_explain(loaded), highlight=False, markup=False)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Write report.md and its plots again from the raw files of a run."""
    from sparseagent.train.run_report import write_report

    with _friendly_errors():
        path = write_report(folder)
    _console().print(f"report: {path}", highlight=False)


@app.command()
def study(
    *,
    files: Annotated[list[Path], typer.Argument(help="YAML files, see bench/studies/.")],
    processes: Annotated[
        int, typer.Option(help="Trainings at a time, each on one thread.", min=1)
    ] = 1,
    seeds: Annotated[
        int | None, typer.Option(help="Only the first so many seeds of each study.", min=1)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="The table of results. Default: the one in the file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The report. Default: the one in the first file.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report from the table alone; run nothing.")
    ] = False,
) -> None:
    """Train and test many agents: environments x algorithms x methods x sparsities x seeds.

    Give the same command again to go on after an interruption: what has a row in the table is not
    run again. Several commands may work on one study at a time. Exit code 1: a cell failed.

    Example: sparseagent study bench/studies/tier_a.yaml --processes 4
    """
    from sparseagent.study.command import open_studies, report_studies, run_studies

    console = _console()
    with _friendly_errors():
        opened = open_studies(files, csv, out)
        failed = 0 if report else run_studies(opened, processes, seeds)
        told = report_studies(opened, files)
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def kernels() -> None:
    """List the instruction sets and formats of this build, and what this machine can run."""
    import sparseagent as sa

    rows = [
        (
            isa.name,
            "yes" if isa.available else "no",
            isa.lanes,
            ", ".join(isa.formats),
            isa.needs or "nothing",
        )
        for isa in sa.kernels()
    ]
    header = ["instruction set", "runs here", "lanes", "formats", "needs"]
    _print_table(_console(), header, rows, left=5)


def _explain(policy: SparsePolicy) -> str:
    import sparseagent as sa

    return sa.compile(policy).explain()


def _print_table(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1
) -> None:
    """Print a table; the first `left` columns are set left, the others right."""
    table = Table(header_style="bold")
    for number, title in enumerate(header):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)
