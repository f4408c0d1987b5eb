"""The command line: every command, its help, and its answers to bad input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from typer.testing import CliRunner

import sparseagent as sa
from sparseagent.commands import app
from sparseagent.train import RunConfig

COMMANDS = (
    "run",
    "train",
    "prune",
    "search",
    "convert",
    "rollout",
    "robustness",
    "bench",
    "export",
    "report",
    "show",
    "kernels",
    "study",
)
#: Several inputs, several outputs.
GOLDEN = Path(__file__).parent / "runtime" / "golden" / "v2_inputs.safetensors"
SMALL = ["--env", "CartPole-v1", "--steps", "512", "--net", "8,8", "--set", "n_epochs=2"]


CARTPOLE = ["run", "--env", "CartPole-v1"]


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def fail(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Zip and VecNormalize statistics of an untrained agent."""
    folder = tmp_path_factory.mktemp("model")
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=0))
    agent = PPO("MlpPolicy", env, seed=0, device="cpu", n_steps=32, batch_size=64)
    agent.learn(128)
    agent.save(folder / "agent.zip")
    env.save(str(folder / "vecnormalize.pkl"))
    return folder / "agent.zip", folder / "vecnormalize.pkl"


@pytest.fixture(scope="module")
def policy(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("policy") / "agent.safetensors"
    succeed("convert", model[0], out, "--vecnormalize", model[1], "--env", "CartPole-v1")
    return out


def test_help_lists_all_commands():
    text = succeed("--help")
    assert all(re.search(rf"^\W*{name} ", text, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command):
    text = succeed(command, "--help")
    assert len(text.splitlines()) > 4


def test_help_tells_the_choices():
    text = " ".join(re.findall(r"[^\s│]+", succeed("run", "--help")))
    assert "magnitude (small weights go first); random" in text
    assert "erk (" in text
    assert "--no-normalize" in text
    assert all(f"─ {group} ─" in text for group in ("Options", "Pruning", "Training", "Folder"))


def test_kernels_lists_the_instruction_sets():
    text = succeed("kernels")
    assert "scalar" in text
    assert all(isa.name in text for isa in sa.kernels())


def test_convert_takes_the_normaliser_along(model, policy, tmp_path):
    loaded = sa.load(policy)
    assert not loaded.observation.is_identity
    assert loaded.metadata["environment"] == "CartPole-v1"
    beside = model[0].with_suffix(".safetensors")
    text = succeed("convert", model[0])
    assert str(beside) in text.replace("\n", "")
    assert "observations: normalised by vecnormalize.pkl, found beside the zip" in text
    assert sa.load(beside).observation.scale is not None
    text = succeed("convert", model[0], tmp_path / "raw.safetensors", "--no-vecnormalize")
    assert "observations: taken as they come, not normalised" in text
    assert sa.load(tmp_path / "raw.safetensors").observation.is_identity
    text = fail(
        "convert", model[0], tmp_path / "x", "--vecnormalize", model[1], "--no-vecnormalize"
    )
    assert "vecnormalize: expected a file or --no-vecnormalize, got both" in text


def test_convert_says_that_statistics_are_missing(model, tmp_path):
    """A zip that says that there were some is refused; one that says nothing is converted."""
    alone = tmp_path / "alone.zip"
    alone.write_bytes(model[0].read_bytes())
    text = fail("convert", alone)
    assert "vecnormalize: expected statistics beside" in text
    assert "--no-vecnormalize" in text
    assert not alone.with_suffix(".safetensors").exists()
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "silent.zip")
    text = succeed("convert", tmp_path / "silent.zip")
    assert "warning:" in text
    assert "--vecnormalize FILE" in text
    assert "observations:" not in text
    assert "warning:" not in succeed(
        "convert", tmp_path / "silent.zip", "--no-vecnormalize", "--overwrite"
    )


def test_convert_replaces_a_file_only_when_told(model, tmp_path):
    out = tmp_path / "agent.safetensors"
    out.write_bytes(b"something")
    text = fail("convert", model[0], out)
    assert "which exists; name another, or replace it with --overwrite" in text
    assert out.read_bytes() == b"something"
    succeed("convert", model[0], out, "--overwrite")
    assert sa.load(out).input_size == 4


def test_convert_notes_no_environment_that_rollout_refuses(model, tmp_path):
    out = tmp_path / "agent.safetensors"
    for env in ("module:Mine-v0", "a:b:c", "../x", ""):
        text = fail("convert", model[0], out, "--env", env)
        assert "env: expected a plain Gymnasium id such as 'CartPole-v1'" in text
        assert f"got {env!r}" in text
        assert "give this id to `rollout`" in text
    assert not out.exists()


def test_convert_says_how_to_play_a_run_whose_environment_imports_a_module(model, tmp_path):
    run = RunConfig(env="module:Mine-v0", algo="ppo", out=str(tmp_path))
    run.save(tmp_path / "config.json")
    (tmp_path / "dense.zip").write_bytes(model[0].read_bytes())
    text = succeed("convert", tmp_path / "dense.zip", "--no-vecnormalize")
    assert "environment: module:Mine-v0 imports a module" in text
    assert "give it to `rollout`" in text
    fail("rollout", tmp_path / "dense.safetensors")


def test_rollout_does_not_play_another_environment_than_the_agent_knows(policy, tmp_path):
    wrapped = tmp_path / "wrapped.safetensors"
    sa.load(policy).with_metadata(wrappers=["TimeAwareObservation"]).save(wrapped)
    text = fail("rollout", wrapped, "--episodes", 2)
    assert "was trained with 'TimeAwareObservation' around CartPole-v1" in text
    assert "CartPole-v1: return" in succeed("rollout", wrapped, "CartPole-v1", "--episodes", 2)


def test_a_zip_is_no_policy_file(model):
    for command in (["rollout", model[0]], ["bench", model[0]]):
        text = fail(*command)
        assert "not a policy file but a zip" in text
        assert "`sparseagent convert`" in text


def test_rollout_plays_the_environment_of_the_file(policy):
    text = succeed("rollout", policy, "--episodes", 4, "--num-envs", 2)
    assert "CartPole-v1: return" in text
    assert "4 episodes" in text
    assert (
        text.split(" steps in")[0]
        == succeed("rollout", policy, "CartPole-v1", "--episodes", 4, "--num-envs", 2).split(
            " steps in"
        )[0]
    )


def test_robustness_writes_a_table_and_a_plot(policy, tmp_path):
    out = tmp_path / "new" / "robust.csv"
    text = succeed(
        *("robustness", policy.parent, "--out", out, "--episodes", 3),
        *("--noise", 0.5, "--noise", 0, "--parameter", "pole length"),
        *("--report", out.with_suffix(".md")),
    )
    assert f"table: {out}" in text
    assert f"page: {out.with_suffix('.md')}" in text
    assert "# Robustness in CartPole-v1" in out.with_suffix(".md").read_text()
    assert f"plot: {out.with_suffix('.png')}" in text
    rows = out.read_text().splitlines()
    assert rows[0].startswith("policy,agent,training_seed,environment,disturbance,level,")
    assert len(rows) == 1 + 2 + 7
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_bench_times_the_contenders(policy):
    text = succeed("bench", policy, "--calls", 50, "--batch", 1, "--batch", 7)
    assert "batch 1, 50 calls each" in text
    assert "batch 7, 50 calls each" in text
    for name in ("compiled", "our dense kernel", "NumPy dense", "torch dense"):
        assert text.count(name) == 2
    assert "inputs" in text  # the plan explains itself


def test_train_then_prune_in_one_folder(tmp_path):
    out = tmp_path / "run"
    succeed("train", *SMALL, "--out", out)
    assert (out / "dense.zip").exists()
    assert not (out / "pruned.zip").exists()
    text = succeed("prune", *SMALL, "--out", out)
    assert (out / "pruned.zip").exists()
    assert "1/5 choose the strategy" in text
    assert sa.from_sb3(out / "pruned.zip").nnz <= 11  # 0.1 of 4-8-8-2, dead neurons removed
    config = RunConfig.load(out / "config.json")
    assert config.net_arch == (8, 8)
    assert config.hyperparameters["n_epochs"] == 2
    assert config.total_timesteps == 512


def test_run_ends_with_the_tables_and_report_writes_them_again(tmp_path):
    out = tmp_path / "run"
    text = succeed("run", *SMALL, "--episodes", 3, "--out", out, "--sparsity", "0.8")
    for part in ("dense", "pruned", "tiny dense", "return IQM [95 % interval]", "p50", "p99"):
        assert part in text
    assert f"report: {out / 'report.md'}" in text
    tested = sa.load(out / "policy.safetensors").metadata
    succeed("convert", out / "pruned.zip", out / "again.safetensors")
    again = sa.load(out / "again.safetensors").metadata
    for key in ("environment", "agent", "training_seed", "evaluated_return"):
        assert again[key] == tested[key]
    assert "--overwrite" in fail("convert", out / "dense.zip")
    (out / "report.md").unlink()
    succeed("report", out)
    assert "# CartPole-v1, PPO, sparsity 0.8" in (out / "report.md").read_text()


def test_run_fails_if_the_policy_does_not_act_like_the_model(tmp_path, monkeypatch):
    """A model that is swapped before the test: exit code 1, and the report says so."""
    from sparseagent.train import deployed

    convert = sa.from_sb3

    def convert_another(model, **arguments):
        policy = convert(model, **arguments)
        last = policy.layers[-1]
        turned = sa.Layer(-last.dense_weight(), -last.bias, last.activation)
        return sa.SparsePolicy(
            sa.chain((*policy.layers[:-1], turned), policy.observation),
            policy.head,
            policy.metadata,
        )

    monkeypatch.setattr(deployed.sa, "from_sb3", convert_another, raising=False)
    result = call("run", *SMALL, "--episodes", 3, "--out", tmp_path / "run")
    assert result.exit_code == 1, result.output
    assert "FAILED: the compiled policy does not act like the model" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "env: expected an environment id"),
        (["run", "--env", "CartPole-v1", "--sparsity", "95"], "sparsity: expected a fraction"),
        (["run", "--env", "CartPole-v1", "--algo", "sac"], "algo: expected one that can act"),
        (["run", "--env", "Nope-v0"], "env: expected a Gymnasium id"),
        (["run", "--env", "CartPole"], "its version, such as 'CartPole-v1', got 'CartPole'"),
        (["run", "--env", "CartPole-v1", "--algo", "SAC"], "algo: expected one that can act"),
        (["run", "--env", "CartPole-v1", "--net", "64x64"], "net: expected widths such as 64,64"),
        (["run", "--env", "CartPole-v1", "--set", "gamma"], "set: expected <name>=<value>"),
        (["run", "--env", "CartPole-v1", "--set", "gama=1"], "hyperparameters: expected names"),
        (["run", "--env", "CartPole-v1", "--strategy", "neuron"], "strategy: expected one of"),
        (["run", "--env", "CartPole-v1", "--sparsity", "0.9999"], "schedule: expected to keep"),
        (["run", "--config", "nowhere.json"], "nowhere.json"),
        ([*CARTPOLE, "--set", "learning_rate=abc"], "learning_rate: expected float"),
        ([*CARTPOLE, "--mask-gradients", "--grow", "random"], "mask_gradients: expected False"),
        ([*CARTPOLE, "--rescale-initial"], "rescale_initial: expected"),
        ([*CARTPOLE, "--drop-fraction", "0.5"], "drop_fraction: expected 0.3 beside grow 'none'"),
        (["search", "--env", "CartPole-v1", "--share", "3"], "share: expected a share in (0, 1]"),
        (["rollout", "nowhere.safetensors"], "nowhere.safetensors"),
        (["robustness", "nowhere", "--out", "a.csv"], "policy: expected a policy file or a folder"),
        (["robustness", ".", "--out", "a.csv"], "expected policy files (.safetensors) in ."),
        (["robustness", ".", "--out", "a.csv", "--plot", "b.pdf"], "plot: expected a name"),
        (["convert", "nowhere.zip"], "nowhere.zip"),
        (["show", __file__], "truncated, or not a policy file"),
        (["report", "nowhere"], "folder: expected a finished run"),
    ],
)
def test_bad_input_is_answered_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = fail(*arguments)
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_another_configuration_for_the_same_folder(tmp_path):
    out = tmp_path / "run"
    succeed("train", *SMALL, "--out", out)
    text = fail("train", *SMALL, "--sparsity", "0.5", "--out", out)
    assert "sparsity: 0.5, not 0.9" in text
    succeed("train", *SMALL, "--sparsity", "0.5", "--out", out, "--overwrite")


def test_overwrite_deletes_runs_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    text = fail("train", *SMALL, "--out", tmp_path, "--overwrite")
    assert "out: expected a run folder" in text
    assert (tmp_path / "config.json").exists()


def test_search_takes_all_its_options(tmp_path):
    out = tmp_path / "search"
    options = ["--trials", 1, "--share", 0.01, "--episodes", 3, "--out", out]
    given = ["--allocation", "uniform", "--critic-sparsity", 0.5]
    text = succeed("search", *SMALL, *options, *given)
    assert f"candidates: {out / 'candidates.csv'}" in text
    (candidate,) = (out / "candidates").iterdir()
    config = RunConfig.load(candidate / "config.json")
    assert (config.allocation, config.critic_sparsity) == ("uniform", 0.5)
    assert "--overwrite" in fail("search", *SMALL, *options)
    succeed("search", *SMALL, *options, "--allocation", "erk", "--overwrite")
    (candidate,) = (out / "candidates").iterdir()
    assert RunConfig.load(candidate / "config.json").allocation == "erk"


def test_the_example_of_robustness_names_a_folder_of_the_demo():
    text = " ".join(succeed("robustness", "--help").split())
    assert "sparseagent robustness runs/demo --out" in text


def test_a_configuration_file_with_changes(tmp_path):
    from sparseagent.commands.options import RunOptions

    path = tmp_path / "config.json"
    RunConfig(env="CartPole-v1", sparsity=0.7, hyperparameters={"gamma": 0.9}).save(path)
    config = RunOptions(config=path, steps=77, hyperparameter=["n_steps=16"]).to_config()
    assert (config.sparsity, config.total_timesteps) == (0.7, 77)
    assert config.hyperparameters == {"gamma": 0.9, "n_steps": 16}


def test_the_default_folder_names_the_run():
    from sparseagent.commands.options import RunOptions

    config = RunOptions(env="ALE/Pong-v5", algo="dqn", sparsity=0.95).to_config()
    assert config.out == "runs/ALE_Pong-v5-dqn-0.95"


def test_the_command_in_a_process_of_its_own():
    finished = subprocess.run(
        [sys.executable, "-m", "sparseagent.cli", "kernels"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "scalar" in finished.stdout


def test_commands_on_policies_load_no_other_package():
    packages = ["torch", "gymnasium", "stable_baselines3", "matplotlib", "scipy", "yaml", "optuna"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"
        "from sparseagent.cli import main\n"
    )
    for arguments in (["kernels"], ["show", GOLDEN], ["bench", GOLDEN, "--calls", "20"]):
        call = f"sys.argv = ['sparseagent', *{list(map(str, arguments))!r}]; main()"
        finished = subprocess.run(
            [sys.executable, "-c", code + call],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr


def test_a_command_that_trains_says_what_it_needs():
    code = (
        "import sys; sys.modules['torch'] = None\nfrom sparseagent.cli import main\n"
        "sys.argv = ['sparseagent', 'run', '--env', 'CartPole-v1']; main()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 2
    assert "needs torch: pip install 'sparseagent[train]'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_version():
    assert succeed("--version").strip() == f"sparseagent {sa.__version__}"
    assert succeed("rollout", "-h") == succeed("rollout", "--help")


def test_show_tells_what_a_file_holds():
    text = succeed("show", GOLDEN)
    assert "input goal: int64 (2,), one-hot" in text
    assert "action: float32 (3,), by clip" in text
    assert "env_id: Dict-v0" in text
    facts = json.loads(succeed("show", GOLDEN, "--json"))
    policy = sa.load(GOLDEN)
    assert facts["weights"] == policy.nnz
    assert facts["inputs"]["image"]["shape"] == [2, 1, 2]
    assert facts["outputs"] == {"action": 3, "value": 1, "atoms": 12}
    assert facts["metadata"] == policy.metadata


def test_programs_can_read_what_commands_print(policy):
    assert [isa["name"] for isa in json.loads(succeed("kernels", "--json"))] == [
        isa.name for isa in sa.kernels()
    ]
    result = json.loads(succeed("rollout", policy, "--episodes", 3, "--num-envs", 1, "--json"))
    assert len(result["returns"]) == 3
    assert result["env_id"] == "CartPole-v1"
    rows = json.loads(succeed("bench", policy, "--batch", 3, "--calls", 20, "--json"))
    assert {row["batch"] for row in rows} == {3}
    assert rows[0]["name"] == "compiled"
    assert rows[0]["calls"] == 20


def test_bench_times_several_inputs_against_our_dense_kernels_alone():
    rows = json.loads(succeed("bench", GOLDEN, "--calls", 20, "--json"))
    assert [row["name"] for row in rows] == ["compiled", "our dense kernel"]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_package_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom sparseagent.cli import main\nmain()"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 2
    assert f"needs {missing}: pip install 'sparseagent[cli]'" in finished.stderr
    assert "Traceback" not in finished.stderr
