import json

import pytest

from sparseagent.train import RunConfig, configure
from sparseagent.train.choices import GRADIENT_SCORES


def test_round_trip_through_json(tmp_path):
    config = RunConfig(
        env="CartPole-v1",
        algo="sac",
        sparsity=0.95,
        critic_sparsity=0.5,
        net_arch=(400, 300),
        seeds=(3, 1),
        normalize=True,
        activation="relu",
        hyperparameters={"learning_rate": "lin_0.001", "train_freq": [1, "episode"]},
    )
    config.save(tmp_path / "config.json")
    assert RunConfig.load(tmp_path / "config.json") == config
    assert isinstance(RunConfig.from_json(config.to_json()).net_arch, tuple)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sparsity", 1.0, r"sparsity: expected a fraction of zeros in \[0, 1\), got 1"),
        ("sparsity", -0.1, "sparsity: expected"),
        ("sparsity", 95, "sparsity: expected"),
        ("critic_sparsity", 1.5, "critic_sparsity: expected"),
        ("algo", "trpo", "algo: expected one of 'ppo'"),
        ("score", "hessian", "score: expected one of 'magnitude'"),
        ("pattern", "3:4", "pattern: expected one of 'fan_in'"),
        ("neurons", 1.0, r"neurons: expected a fraction in \[0, 1\), got 1.0"),
        ("neurons", 0.7, "neurons: expected 0.5 beside the pattern 'unstructured'"),
        ("allocation", "even", "allocation: expected one of 'erk'"),
        ("grow", "all", "grow: expected one of 'none'"),
        ("drop_fraction", 1.0, "drop_fraction: expected"),
        ("output_floor", 1.1, r"output_floor: expected a density in \[0, 1\], got 1.1"),
        ("weight_decay", -1.0, "weight_decay: expected 0 or more, got -1.0"),
        ("schedule", "linear", "schedule: expected one of 'cubic'"),
        ("activation", "swish", "activation: expected one of 'tanh'"),
        ("prune_start", 0.9, "prune_start, prune_stop: expected"),
        ("prune_stop", 1.2, "prune_start, prune_stop: expected"),
        ("total_timesteps", 0, "total_timesteps: expected 1 or more"),
        ("finetune_timesteps", -1, "finetune_timesteps: expected 0 or more"),
        ("n_envs", 0, "n_envs: expected 1 or more"),
        ("eval_episodes", 0, "eval_episodes: expected 1 or more"),
        ("checkpoint_seconds", -1.0, "checkpoint_seconds: expected 0 or more"),
        ("net_arch", (), "net_arch: expected at least one hidden layer"),
        ("net_arch", (64, 0), "net_arch: expected 1 or more"),
        ("seeds", (), "seeds: expected different numbers"),
        ("seeds", (1, 1), "seeds: expected different numbers"),
        ("seeds", (-1,), "seeds: expected 0 or more"),
    ],
)
def test_a_value_out_of_range_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(env="CartPole-v1", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", ""),
        ("env", 3),
        ("sparsity", "0.9"),
        ("neurons", "half"),
        ("rescale_initial", 1),
        ("mask_gradients", "yes"),
        ("net_arch", 64),
        ("net_arch", (64.0,)),
        ("seeds", (True,)),
        ("total_timesteps", 1e5),
        ("hyperparameters", {1: 2}),
    ],
)
def test_a_wrong_type_is_named(field, value):
    with pytest.raises(TypeError, match=rf"{field}: expected"):
        RunConfig(**{"env": "CartPole-v1", field: value})


@pytest.mark.parametrize("score", GRADIENT_SCORES)
def test_a_score_of_gradients_cannot_judge_before_training(score):
    options = {"env": "CartPole-v1", "schedule": "early", "prune_start": 0.0}
    with pytest.raises(ValueError, match=rf"prune_start: expected more than 0 .*'{score}'"):
        RunConfig(score=score, **options)
    RunConfig(score=score, **{**options, "prune_start": 0.01})
    RunConfig(score=score, grow="random", **options)  # the first masks are random then
    RunConfig(score="magnitude", **options)


def test_movement_takes_no_lamp():
    with pytest.raises(ValueError, match="allocation: expected another one beside the score"):
        RunConfig(env="CartPole-v1", score="movement", allocation="lamp")


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_growth_needs_masks_before_it_stops(grow):
    with pytest.raises(ValueError, match="schedule: expected one with masks before prune_stop"):
        RunConfig(env="CartPole-v1", schedule="one_shot", grow=grow)
    RunConfig(env="CartPole-v1", schedule="cubic", grow=grow)


def test_the_ramp_counts_from_where_learning_starts():
    td3 = configure("Pendulum-v1", "td3")
    assert (td3.learning_starts, td3.ramp_steps) == (10_000, (12_000, 18_000))
    sac = RunConfig(env="Pendulum-v1", algo="sac", total_timesteps=1100)
    assert (sac.learning_starts, sac.ramp_steps) == (100, (300, 900))
    ppo = RunConfig(env="CartPole-v1", total_timesteps=800, finetune_timesteps=200)
    assert (ppo.learning_starts, ppo.ramp_steps) == (0, (160, 640))


def test_dqn_has_no_critic():
    with pytest.raises(ValueError, match="critic_sparsity: expected 'auto' for dqn"):
        RunConfig(env="CartPole-v1", algo="dqn", critic_sparsity=0.5)


def test_unknown_fields_and_other_json_are_refused():
    with pytest.raises(ValueError, match=r"config: expected the fields .*, got colour"):
        RunConfig.from_json(json.dumps({"env": "CartPole-v1", "colour": "red"}))
    with pytest.raises(ValueError, match="config: expected a JSON object, got list"):
        RunConfig.from_json("[]")


def test_differences_name_what_leads_to_other_results():
    one = RunConfig(env="CartPole-v1", out="a", checkpoint_seconds=1.0)
    same = RunConfig(env="CartPole-v1", out="b", checkpoint_seconds=9.0)
    other = RunConfig(env="CartPole-v1", out="a", sparsity=0.5)
    assert one.differences(same) == []
    assert one.differences(other) == ["sparsity: 0.9, not 0.5"]


def test_extra_finetuning_keeps_the_ramp_in_place():
    config = RunConfig(env="CartPole-v1", total_timesteps=800, finetune_timesteps=200)
    assert config.pruned_timesteps == 1000
    start, stop = config.ramp
    assert start * 1000 == pytest.approx(0.2 * 800)
    assert stop * 1000 == pytest.approx(0.8 * 800)
