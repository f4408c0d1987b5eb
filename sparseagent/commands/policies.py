"""Commands on policy files: make one, play it, disturb it, time it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseagent.commands.console import (
    AsJson,
    app,
    friendly_errors,
    open_console,
    print_json,
    print_table,
)
from sparseagent.commands.converting import (
    environment_line,
    environment_to_note,
    normaliser_line,
    printed_warnings,
    run_facts,
    stated_normaliser,
    target_of,
)

if TYPE_CHECKING:
    from sparseagent.ops import Observation
    from sparseagent.policy import SparsePolicy

PolicyFile = Annotated[
    Path, typer.Argument(help="A policy file (.safetensors), as `run` or `convert` write it.")
]


@app.command()
def convert(
    *,
    model: Annotated[Path, typer.Argument(help="The zip that Stable-Baselines3's save wrote.")],
    out: Annotated[
        Path | None,
        typer.Argument(help="The policy file to write. Default: `<model>.safetensors`."),
    ] = None,
    vecnormalize: Annotated[
        Path | None,
        typer.Option(
            help="The file that VecNormalize.save wrote. Default: the one beside the model, where "
            "RL Zoo, the hub and `run` put it."
        ),
    ] = None,
    no_vecnormalize: Annotated[
        bool,
        typer.Option("--no-vecnormalize", help="Training did not normalise observations."),
    ] = False,
    algo: Annotated[
        str | None, typer.Option(help="The algorithm, where the zip does not tell.")
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="The hidden activation, where the zip does not tell.")
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="Environment id to note in the file, for `rollout`.")
    ] = None,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Let the policy sample as in training.")
    ] = False,
    value: Annotated[
        bool, typer.Option("--value", help="Take the value network along (PPO, A2C, TRPO).")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Convert a Stable-Baselines3 model to a policy file; nothing of the zip is executed."""
    import sparseagent as sa

    with friendly_errors():
        target = target_of(model, out, overwrite=overwrite)
        stated = stated_normaliser(vecnormalize, no_vecnormalize)
        facts = {**run_facts(model), **environment_to_note(env)}
        with printed_warnings():
            policy = sa.from_sb3(
                model,
                vecnormalize=stated,
                algo=algo,
                activation=activation,
                metadata=facts,
                stochastic=stochastic,
                value=value,
            )
        policy.save(target)
    console = open_console()
    console.print(policy.summary())
    lines = (
        normaliser_line(policy.metadata, found=stated is None),
        environment_line(policy.metadata),
    )
    for line in filter(None, lines):
        console.print(line)
    console.print(f"policy: {target} ({target.stat().st_size:,} bytes)")


@app.command()
def show(policy: PolicyFile, as_json: AsJson = False) -> None:
    """Say what a policy file holds: inputs, layers, action, where it comes from.

    The file is checked and its self-test is run, as always when one is loaded.
    """
    import sparseagent as sa

    with friendly_errors():
        loaded = sa.load(policy)
    facts = _facts(loaded)
    if as_json:
        print_json(facts)
        return
    console = open_console()
    console.print(f"{policy}: {policy.stat().st_size:,} bytes, order {loaded.order}")
    for name, given in facts["inputs"].items():
        console.print(f"input {name}: {given['dtype']} {tuple(given['shape'])}, {given['step']}")
    console.print(loaded.summary())
    for name, size in facts["outputs"].items():
        console.print(f"output {name}: {size} numbers")
    action = facts["action"]
    console.print(f"action: {action['dtype']} {tuple(action['shape'])}, by {action['head']}")
    tested = facts["self_test"]
    console.print(f"self-test: {tested} observations, passed" if tested else "self-test: none")
    for name, fact in loaded.metadata.items():
        console.print(f"{name}: {fact}")


def _facts(policy: SparsePolicy) -> dict[str, Any]:
    """What `show` tells, as JSON holds it."""
    dtype, shape = policy.head.action_of(policy.output_size)
    return {
        "weights": policy.nnz,
        "sparsity": policy.sparsity,
        "order": policy.order,
        "ops": [op.kind for op in policy.program.ops],
        "inputs": {
            name: {"dtype": step.dtype, "shape": step.shape, "step": _words(step)}
            for name, step in policy.inputs.items()
        },
        "outputs": {name: span.size for name, span in policy.program.outputs.items()},
        "action": {"dtype": dtype, "shape": shape, "head": policy.head.kind},
        "self_test": 0 if policy.golden is None else len(policy.golden.outputs),
        "metadata": policy.metadata,
    }


def _words(step: Observation) -> str:
    if step.categories:
        return "one-hot"
    if step.is_identity:
        return "as it comes"
    return f"normalised, clipped to [{step.low:g}, {step.high:g}], in {step.precision}"


@app.command()
def rollout(
    *,
    policy: PolicyFile,
    env: Annotated[
        str | None,
        typer.Argument(
            help="Environment id; module:id imports the module first. Default: the one noted in "
            "the file."
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes to play.")] = 100,
    num_envs: Annotated[int, typer.Option(help="Environments stepped together.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the episodes.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of the compiled policy.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Play episodes with a policy file: return with its 95 % interval, steps per second."""
    import sparseagent as sa
    from sparseagent.environments import noted_environment

    with friendly_errors():
        loaded = sa.load(policy)
        name = env or noted_environment(loaded.metadata, str(policy))
        if not name:
            raise ValueError("env: expected an environment id, for the file names none")
        act = sa.compile(loaded, threads=threads)
        result = sa.rollout(act, name, episodes=episodes, num_envs=num_envs, seed=seed)
    if as_json:
        print_json({**asdict(result), "steps_per_second": result.steps_per_second})
    else:
        open_console().print(str(result))


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
    report: Annotated[
        Path | None, typer.Option(help="A Markdown page to write: which agents differ, and where.")
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

    All policies play the same episodes, under the same noise. Agents are told apart by what their
    files say, and compared in pairs of one training seed.

    Example: sparseagent robustness runs/demo --out robustness.csv
    """
    from sparseagent.robustness import NOISE_LEVELS
    from sparseagent.train.policy_files import policy_files
    from sparseagent.train.robustness_files import draw_robustness, measure_files
    from sparseagent.train.robustness_page import write_robustness_page

    console = open_console()
    picture = out.with_suffix(".png") if plot is None else plot
    with friendly_errors():
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
            say=console.print,
        )
        draw_robustness(out, picture)
        if report is not None:
            write_robustness_page(out, report, picture)
    console.print(f"table: {out}\nplot: {picture}")
    if report is not None:
        console.print(f"page: {report}")


@app.command()
def inputs(
    *,
    policies: Annotated[
        list[Path],
        typer.Argument(metavar="POLICY...", help="Policy files, or folders of them."),
    ],
    env: Annotated[
        str | None,
        typer.Option(help="Environment id for the names. Default: the one noted in the files."),
    ] = None,
    most: Annotated[int, typer.Option(help="Inputs to show of each agent.", min=1)] = 20,
    out: Annotated[
        Path | None, typer.Option(help="A CSV table to write, of all inputs of all policies.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="A plot to write (.png); the files are of one agent.")
    ] = None,
) -> None:
    """Show which inputs an agent uses, and how much: sensors that it can do without.

    Seeds of one agent are put together, as in `robustness`. The share of an input is what it has of
    the squared weights that read the observation; it compares inputs where these were normalised.

    Example: sparseagent inputs runs/demo --plot inputs.png
    """
    from sparseagent.train.input_report import agent_inputs, draw_inputs, write_inputs
    from sparseagent.train.policy_files import policy_files

    console = open_console()
    with friendly_errors():
        agents = agent_inputs(policy_files(policies), env)
        if plot is not None and len(agents) > 1:
            names = ", ".join(agent.agent for agent in agents)
            raise ValueError(f"plot: expected the files of one agent, got {names}")
        if out is not None:
            write_inputs(agents, out)
        if plot is not None:
            draw_inputs(agents[0], plot, most)
    for agent in agents:
        console.print(agent.headline)
        print_table(console, *agent.table(most))
    for name, path in (("table", out), ("plot", plot)):
        if path is not None:
            console.print(f"{name}: {path}")


@app.command()
def bench(
    policy: PolicyFile,
    batch: Annotated[
        list[int] | None, typer.Option(help="Observations in a call; may be repeated. Default: 1.")
    ] = None,
    calls: Annotated[int, typer.Option(help="Timed calls of each contender.")] = 5_000,
    as_json: AsJson = False,
) -> None:
    """Time a policy file against our dense kernels, NumPy and, where installed, torch.

    All contenders run in this process, on one core, in turns.
    """
    from sparseagent import compile, load
    from sparseagent.train.contenders import bench_policy
    from sparseagent.train.run_report import latency_rows

    console = open_console()
    with friendly_errors():
        loaded = load(policy)
        timed = {size: bench_policy(loaded, size, calls) for size in batch or [1]}
    if as_json:
        print_json([{"batch": size, **asdict(row)} for size in timed for row in timed[size]])
        return
    for size, latencies in timed.items():
        console.print(f"batch {size}, {calls:,} calls each")
        print_table(console, *latency_rows(latencies))
    console.print(compile(loaded).explain())


@app.command()
def kernels(as_json: AsJson = False) -> None:
    """List the instruction sets and formats of this build, and what this machine can run."""
    import sparseagent as sa

    if as_json:
        print_json([asdict(isa) for isa in sa.kernels()])
        return
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
    print_table(open_console(), header, rows, left=5)
