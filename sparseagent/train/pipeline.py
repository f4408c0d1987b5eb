"""The five steps: choose the strategy, train, prune while training, fine-tune, test."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparseagent.train.agent import actor_weights, check_environment, fresh_policy
from sparseagent.train.architecture import tiny_hidden
from sparseagent.train.callbacks import CURVE_COLUMNS
from sparseagent.train.config import RunConfig
from sparseagent.train.evaluation import evaluate_agents
from sparseagent.train.folder import AGENTS, RunFolder, open_folder
from sparseagent.train.lock import hold
from sparseagent.train.machine import describe_machine
from sparseagent.train.progress import Display
from sparseagent.train.records import read_rows, write_json, write_rows
from sparseagent.train.run_report import write_report
from sparseagent.train.run_tables import read_run_tables
from sparseagent.train.stage import Stage, load_model, sections_of, train_stage
from sparseagent.train.strategy import Strategy, check_pruning, choose_strategy

_HANGING: Mapping[str, Any] = {"subsequent_indent": " " * 7, "break_on_hyphens": False}


@dataclass(frozen=True)
class OpenRun:
    """A run that is going on: its configuration, its folder, and where it shows its progress."""

    config: RunConfig
    folder: RunFolder
    display: Display


@dataclass(frozen=True)
class RunOutcome:
    """What a finished run has to answer for.

    Attributes:
        folder: the run folder; `report.md` lies in it.
        sparsity_reached: whether every pruned agent has the sparsity that was asked for.
        parity_holds: whether every compiled policy acts like the model it came from.
    """

    folder: Path
    sparsity_reached: bool
    parity_holds: bool

    @property
    def ok(self) -> bool:
        """Whether both conditions hold."""
        return self.sparsity_reached and self.parity_holds


def run(
    config: RunConfig,
    *,
    overwrite: bool = False,
    trust: bool = False,
    display: Display | None = None,
    command: str | None = None,
) -> RunOutcome:
    """Do all five steps, or what is left of them, and write the run folder.

    Call it again with the same configuration after it was killed: it goes on where it stopped.

    Args:
        config: the run.
        overwrite: throw away the run that the folder holds.
        trust: go on in a folder whose files do not match the hashes written down for them. Models
            and checkpoints are pickles: going on in somebody else's folder runs code of theirs,
            whatever the hashes say.
        display: where progress is shown; a console by default.
        command: how to start the run again, for the report.

    Returns:
        Where the report lies, and whether the run kept its promises.

    Raises:
        ValueError: the environment does not exist or does not suit the algorithm, settings do not
            fit each other, or the folder holds another run, is damaged or in use.
    """
    with prepared(config, overwrite=overwrite, trust=trust, display=display) as opened:
        return complete(opened, command)


@contextmanager
def prepared(
    config: RunConfig,
    *,
    overwrite: bool = False,
    trust: bool = False,
    display: Display | None = None,
) -> Iterator[OpenRun]:
    """Step 1: check the configuration, open the folder, choose and write down the strategy.

    The folder is ours alone until the end of the context; nothing is written before all is checked.
    """
    check_environment(config)
    policy = fresh_policy(config)
    check_pruning(config, policy)
    strategy = choose_strategy(config, policy)
    with hold(Path(config.out)):
        folder, resumed = open_folder(config, overwrite=overwrite, trust=trust)
        write_json(folder.root / "strategy.json", asdict(strategy))
        opened = OpenRun(config, folder, Display() if display is None else display)
        _say_strategy(opened, strategy, resumed)
        yield opened


def complete(run: OpenRun, command: str | None = None) -> RunOutcome:
    """Steps 2 to 5, as far as they are not done yet, and the report."""
    with one_thread():
        for seed in run.config.seeds:
            train_dense(run, seed)
            prune_agent(run, seed)
            train_tiny(run, seed)
        collect_curves(run)
        evaluate(run, command)
    write_report(run.folder.root)
    return outcome(run.folder.root)


def train_dense(run: OpenRun, seed: int) -> None:
    """Step 2: train the dense agent."""
    _train(run, "dense", seed, run.config.net_arch)


def prune_agent(run: OpenRun, seed: int) -> None:
    """Steps 3 and 4: train an agent that is pruned on the way, then fine-tune it."""
    _train(run, "pruned", seed, run.config.net_arch)


def train_tiny(run: OpenRun, seed: int) -> None:
    """The control of step 5: a dense agent with as many weights as the pruned one has kept."""
    if run.folder.is_done("tiny", seed):
        _train(run, "tiny", seed, run.config.net_arch)  # no need to look at the pruned one
        return
    weights = actor_weights(load_model(run.config, run.folder, "pruned", seed).policy)
    hidden = tiny_hidden(
        inputs=weights[0].shape[1],
        outputs=weights[-1].shape[0],
        weights=sum(int((weight != 0).sum()) for weight in weights),
        depth=len(run.config.net_arch),
    )
    _train(run, "tiny", seed, hidden)


def collect_curves(run: OpenRun) -> None:
    """Write `learning_curve.csv`: every training episode of the agents that are trained.

    Raises:
        FolderError: a file of these agents is damaged.
    """
    rows: list[dict[str, Any]] = []
    for seed in run.config.seeds:
        for agent in (agent for agent in AGENTS if run.folder.is_done(agent, seed)):
            run.folder.check(agent, seed)
            curve = read_rows(run.folder.curve(agent, seed))
            rows += [{"agent": agent, "seed": seed, **row} for row in curve]
    path = run.folder.root / "learning_curve.csv"
    write_rows(path, ("agent", "seed", *CURVE_COLUMNS), rows)


def evaluate(run: OpenRun, command: str | None = None) -> None:
    """Step 5: test and time all agents."""
    first = run.config.seeds[0]
    if run.folder.is_done("test", first):
        run.folder.check("test", first)
        run.display.say("all agents are tested already")
        return
    evaluate_agents(run.config, run.folder, run.display)
    write_json(run.folder.root / "machine.json", describe_machine(command))
    run.folder.mark_done("test", first, {}, _tested_files(run))


def _tested_files(run: OpenRun) -> list[Path]:
    """What the test wrote, all below the folder of the first seed."""
    folder = run.folder
    names = ("agents", "episodes", "parity", "layers", "latency")
    tables = [folder.root / f"{name}.csv" for name in names]
    policies = [folder.policy(agent, seed) for seed in run.config.seeds for agent in AGENTS]
    return [*tables, *policies, folder.root / "machine.json"]


def outcome(root: Path) -> RunOutcome:
    """Read from a run folder whether the run kept its promises.

    Raises:
        ValueError: a table is not whole.
    """
    tables = read_run_tables(root, RunConfig.load(root / "config.json"))
    return RunOutcome(root, tables.reached, not tables.differing)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: small networks run faster, and a shared machine stays usable."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(run: OpenRun, agent: str, seed: int, actor: tuple[int, ...]) -> None:
    config = run.config
    timesteps = config.pruned_timesteps if agent == "pruned" else config.total_timesteps
    stage = Stage(agent, seed, timesteps, actor, tuple(sections_of(config, agent)))
    if not run.folder.is_done(agent, seed):
        run.folder.forget("test", config.seeds[0])
    if not train_stage(config, stage, run.folder, run.display):
        run.folder.check(agent, seed)
        run.display.say(f"the {agent} agent (seed {seed}) is trained already")


def _say_strategy(run: OpenRun, strategy: Strategy, resumed: bool) -> None:
    config, display = run.config, run.display
    verb = "resuming" if resumed else "writing"
    display.say(
        f"{config.env}, {config.algo.upper()}, sparsity {config.sparsity:g} "
        f"({verb} {run.folder.root}/)",
        style="bold",
    )
    display.say("1/5 choose the strategy", style="bold")
    width = min(100, display.console.width)
    for word, text in (("what", strategy.what), ("how", strategy.how), ("why", strategy.why)):
        display.say(textwrap.fill(f"  {word:<5}{text}", width, **_HANGING))
