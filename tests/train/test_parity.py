import numpy as np
import pytest
from stable_baselines3 import PPO, SAC

import sparseagent as sa
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.train import choices, configure, contenders
from sparseagent.train.agent import make_envs, make_model
from sparseagent.train.parity import check_parity, sample_observations


@pytest.fixture(scope="module")
def cartpole():
    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [8]})
    return model, sa.from_sb3(model)


def test_observations_are_those_of_the_environment(cartpole):
    act = sa.compile(cartpole[1])
    seen = sample_observations("CartPole-v1", act, count=100, seed=3)
    assert seen.shape == (100, 4)
    assert seen.dtype == np.float32
    assert len(np.unique(seen, axis=0)) == 100
    assert np.array_equal(seen, sample_observations("CartPole-v1", act, count=100, seed=3))


def test_a_converted_policy_holds(cartpole):
    model, policy = cartpole
    act = sa.compile(policy)
    seen = sample_observations("CartPole-v1", act, count=200)
    found = check_parity(policy, act, model, None, seen)
    assert found.holds
    assert found.observations == 200


def test_another_model_does_not_hold(cartpole):
    _, policy = cartpole
    other = PPO("MlpPolicy", "CartPole-v1", seed=5, device="cpu")
    act = sa.compile(policy)
    seen = sample_observations("CartPole-v1", act, count=200)
    found = check_parity(policy, act, other, None, seen)
    assert not found.holds
    assert found.different > 0


def test_continuous_actions_are_compared_by_distance():
    model, other = (
        SAC("MlpPolicy", "Pendulum-v1", seed=k, device="cpu", policy_kwargs={"net_arch": [8]})
        for k in range(2)
    )
    policy = sa.from_sb3(model)
    act = sa.compile(policy)
    seen = sample_observations("Pendulum-v1", act, count=100)
    assert check_parity(policy, act, model, None, seen).holds
    found = check_parity(policy, act, other, None, seen)
    assert found.different > 90
    assert found.largest > 1e-3


def test_all_contenders_compute_the_same_network(cartpole):
    _, policy = cartpole
    scaled = sa.Observation.normalise([1.0] * 4, [2.0] * 4, eps=1e-8, clip=10.0)
    for step in (policy.observation, scaled):
        chosen = sa.SparsePolicy(sa.chain(policy.layers, step), policy.head)
        rows = contenders.rows_of(np.random.default_rng(0).normal(size=(3, 4)))
        results = [
            np.asarray(make(chosen, rows)())
            for make in (
                contenders.compiled,
                contenders.compiled_dense,
                contenders.numpy_dense,
                contenders.torch_dense,
            )
        ]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=1e-5)


@pytest.mark.parametrize(("activation", "alpha"), ACTIVATIONS.items())
def test_contenders_know_the_activations(activation, alpha):
    random = np.random.default_rng(0)
    weight = random.normal(size=(5, 3)).astype(np.float32)
    layer = sa.Layer(weight, np.zeros(5, np.float32), activation, alpha)
    policy = sa.SparsePolicy(sa.chain((layer,), sa.Observation((3,))))
    rows = contenders.rows_of(random.normal(size=(40, 3)))
    ours = np.asarray(contenders.compiled(policy, rows)())
    by_numpy = contenders.numpy_dense(policy, rows)()
    assert by_numpy.dtype == np.float32
    np.testing.assert_allclose(by_numpy, ours, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(contenders.torch_dense(policy, rows)(), ours, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("activation", choices.ACTIVATIONS)
def test_every_activation_that_trains_is_timed(activation):
    chosen = configure("CartPole-v1", "ppo", activation=activation, net_arch=(8,))
    envs = make_envs(chosen, seed=0)
    policy = sa.from_sb3(make_model(chosen, envs, seed=0))
    envs.close()
    assert policy.layers[0].activation == activation
    names = [found.name for found in contenders.bench_policy(policy, batch=2, calls=1)]
    assert names == ["compiled", "our dense kernel", "NumPy dense", "torch dense"]


def test_bench_refuses_a_batch_below_one(cartpole):
    with pytest.raises(ValueError, match="batch: expected 1 or more"):
        contenders.bench_policy(cartpole[1], batch=0, calls=1)
