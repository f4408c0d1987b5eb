import re

import pytest

from sparseagent.train import configure, preset
from sparseagent.train.agent import check_environment, make_envs, make_model
from sparseagent.train.choices import ALGORITHMS
from sparseagent.train.presets import DEFAULTS, PRESETS

WANTED = [
    ("ppo", "CartPole-v1"),
    ("dqn", "CartPole-v1"),
    ("dqn", "Acrobot-v1"),
    ("ppo", "LunarLander-v3"),
    ("sac", "Pendulum-v1"),
    ("sac", "MountainCarContinuous-v0"),
    ("ppo", "HalfCheetah-v5"),
    ("sac", "Hopper-v5"),
]


@pytest.mark.parametrize(("algo", "env"), sorted(PRESETS))
def test_every_preset_makes_a_model(algo, env):
    config = configure(env, algo)
    check_environment(config)
    envs = make_envs(config, seed=0)
    model = make_model(config, envs, seed=0)
    for name in set(config.hyperparameters) & {"n_steps", "batch_size", "gamma", "n_epochs"}:
        assert getattr(model, name) == config.hyperparameters[name]
    envs.close()


def test_the_usual_environments_are_tuned():
    assert set(WANTED) <= set(PRESETS)


def test_every_algorithm_has_defaults():
    assert set(DEFAULTS) == set(ALGORITHMS)
    assert preset("Ant-v5", "ppo") is DEFAULTS["ppo"]
    with pytest.raises(ValueError, match="algo: expected one of"):
        preset("Ant-v5", "trpo")


def test_overrides_win_and_none_leaves_the_preset():
    config = configure(
        "CartPole-v1",
        "ppo",
        hyperparameters={"n_steps": 64, "vf_coef": 0.4},
        total_timesteps=500,
        n_envs=None,
    )
    assert config.total_timesteps == 500
    assert config.n_envs == 8
    assert config.hyperparameters["n_steps"] == 64
    assert config.hyperparameters["gamma"] == 0.98
    assert config.hyperparameters["vf_coef"] == 0.4


def test_linear_values_fall_to_zero_at_the_end():
    config = configure("CartPole-v1", "ppo")
    envs = make_envs(config, seed=0)
    model = make_model(config, envs, seed=0)
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0])
    assert [model.clip_range(left) for left in (1.0, 0.0)] == pytest.approx([0.2, 0.0])
    envs.close()


@pytest.mark.parametrize(
    ("env", "algo", "hyperparameters", "message"),
    [
        ("NoSuchEnv-v0", "ppo", {}, "env: expected a Gymnasium id"),
        ("CartPole-v1", "sac", {}, "algo: expected one that can act in Discrete"),
        ("Pendulum-v1", "dqn", {}, "algo: expected one that can act in Box"),
        ("FrozenLake-v1", "ppo", {}, "env: expected observations in a Box"),
        ("CartPole-v1", "ppo", {"n_step": 3}, "hyperparameters: expected names among .*n_steps"),
        ("CartPole-v1", "ppo", {"noise_std": 0.1}, "hyperparameters: expected names among"),
        ("Pendulum-v1", "sac", {"learning_starts": 20_000}, "total_timesteps: expected more than"),
        ("Pendulum-v1", "td3", {"noise_type": "pink"}, "noise_type: expected 'normal'"),
        (
            "Pendulum-v1",
            "sac",
            {"noise_std": 0.5},
            "noise_std: expected both .* got noise_std",
        ),
        ("Pendulum-v1", "sac", {"noise_type": "normal"}, "expected both .* got noise_type alone"),
        (
            "CartPole-v1",
            "ppo",
            {"learning_rate": "lin_x"},
            "learning_rate: expected 'lin_<number>'",
        ),
        ("CartPole-v1", "ppo", {"clip_range": "hold_"}, "clip_range: expected 'hold_<number>'"),
    ],
)
def test_what_cannot_work_is_said_before_training(env, algo, hyperparameters, message):
    with pytest.raises(ValueError, match=message):
        check_environment(configure(env, algo, hyperparameters=hyperparameters))


@pytest.mark.parametrize(
    ("env", "algo", "hyperparameters", "message"),
    [
        (
            "CartPole-v1",
            "ppo",
            {"learning_rate": "abc"},
            "float | 'lin_<number>' | 'hold_<number>', got 'abc'",
        ),
        ("CartPole-v1", "ppo", {"n_steps": "many"}, "int, got 'many'"),
        ("CartPole-v1", "ppo", {"n_epochs": 2.5}, "int, got 2.5"),
        ("CartPole-v1", "ppo", {"gamma": "lin_0.9"}, "float, got 'lin_0.9'"),
        ("CartPole-v1", "ppo", {"gamma": True}, "float, got True"),
        ("CartPole-v1", "ppo", {"use_sde": 1}, "bool, got 1"),
        ("CartPole-v1", "ppo", {"ent_coef": "auto"}, "float, got 'auto'"),
        ("CartPole-v1", "ppo", {"ortho_init": "yes"}, "bool, got 'yes'"),
        ("Pendulum-v1", "sac", {"learning_starts": "late"}, "int, got 'late'"),
        ("Pendulum-v1", "td3", {"noise_std": "loud"}, "float, got 'loud'"),
        ("Pendulum-v1", "sac", {"train_freq": "often"}, "int | tuple[int, str], got 'often'"),
    ],
)
def test_a_hyperparameter_of_another_type_is_named(env, algo, hyperparameters, message):
    name = next(iter(hyperparameters))
    with pytest.raises(TypeError, match=re.escape(f"{name}: expected {message}")):
        check_environment(configure(env, algo, hyperparameters=hyperparameters))


@pytest.mark.parametrize(
    ("env", "algo", "hyperparameters"),
    [
        ("CartPole-v1", "ppo", {"target_kl": None, "clip_range_vf": "lin_0.2", "max_grad_norm": 5}),
        ("CartPole-v1", "ppo", {"learning_rate": lambda left: 1e-3 * left}),
        ("Pendulum-v1", "sac", {"ent_coef": "auto_0.1", "train_freq": [1, "episode"]}),
    ],
)
def test_every_type_that_an_algorithm_takes_passes(env, algo, hyperparameters):
    check_environment(configure(env, algo, hyperparameters=hyperparameters))


@pytest.mark.parametrize(("given", "size"), [({}, 20_001), ({"buffer_size": 500}, 500)])
def test_a_replay_buffer_is_not_larger_than_the_training(given, size):
    config = configure("Pendulum-v1", "sac", hyperparameters=given)
    envs = make_envs(config, seed=0)
    assert make_model(config, envs, seed=0).replay_buffer.buffer_size == size
    envs.close()


def test_the_tiny_actor_leaves_the_critic_alone():
    config = configure("Pendulum-v1", "sac", net_arch=(32, 32))
    envs = make_envs(config, seed=0)
    model = make_model(config, envs, seed=0, actor=(5, 5))
    assert next(model.policy.actor.latent_pi.parameters()).shape == (5, 3)
    assert next(model.policy.critic.qf0.parameters()).shape == (32, 4)
    envs.close()


def test_training_environments_do_not_render() -> None:
    env = make_envs(configure("CartPole-v1", "ppo"), seed=0)
    assert env.render_mode is None
