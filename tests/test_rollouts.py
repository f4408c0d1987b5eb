"""Rollouts: which transitions are counted, which seeds are used, what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium")
pytest.importorskip("scipy")

from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper  # noqa: E402

import sparseagent as sa  # noqa: E402
from sparseagent.rollouts import RolloutResult, rollout  # noqa: E402

MODES = list(AutoresetMode)
CYCLE = "SparseagentCycle-v0"
DRAW = "SparseagentDraw-v0"


class Cycle(gym.Env[Any, Any]):
    """Episodes of 1, 2, ..., `period` steps in turn; step `t` of an episode pays `t + action`."""

    observation_space = gym.spaces.Box(0.0, 100.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, period: int = 4, first: int = 0) -> None:
        self.period, self.episode, self.t = period, first - 1, 0

    def _observe(self) -> Any:
        return np.array([self.t, self.episode % self.period], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        over = self.t > self.episode % self.period
        return self._observe(), float(self.t + action), over, False, {}


class Draw(gym.Env[Any, Any]):
    """The start and every step draw from the generator; lengths vary from 1 to 30."""

    observation_space = gym.spaces.Box(-100.0, 100.0, (1,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 31))
        self.x = self.np_random.normal(size=1)
        return self.x.copy(), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        self.x = 0.9 * self.x + action + 0.1 * self.np_random.normal(size=1)
        return self.x.copy(), float(-(self.x[0] ** 2)), self.left == 0, False, {}


class PoisonedReset(VectorWrapper):
    """Pays NaN and says "over" on the transitions of NEXT_STEP that only reset."""

    def reset(self, **kwargs: Any) -> Any:
        self.over = np.zeros(self.num_envs, dtype=bool)
        return self.env.reset(**kwargs)

    def step(self, actions: Any) -> Any:
        resets = self.over
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        self.over = terminated | truncated
        rewards = np.where(resets, np.nan, rewards)
        return observation, rewards, terminated | resets, truncated, info


class Still:
    """A policy with `predict` that is callable too, and then gives something useless."""

    def __call__(self, observation: Any) -> Any:
        raise AssertionError("predict must win over calling")

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        assert deterministic
        return np.zeros(len(observation), dtype=np.int64), None


class Balance:
    """Balances CartPole for some tens of steps: pushes where the pole leans, ignores its speed."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        return (observation[:, 2] > 0).astype(np.int64), None


def still(observation: Any) -> Any:
    return np.zeros(len(observation), dtype=np.int64)


def damp(observation: Any) -> Any:
    return -0.5 * observation


@pytest.fixture(autouse=True)
def _toy_environments() -> Any:
    gym.register(CYCLE, entry_point=Cycle)
    gym.register(DRAW, entry_point=Draw)
    yield
    del gym.registry[CYCLE], gym.registry[DRAW]


def cycles(num_envs: int, mode: AutoresetMode, **kwargs: Any) -> Any:
    return SyncVectorEnv([lambda: Cycle(**kwargs)] * num_envs, autoreset_mode=mode)


# ------------------------------------------------------------------------- what is counted


@pytest.mark.parametrize("mode", MODES)
def test_lengths_and_returns_are_those_of_the_toy(mode: AutoresetMode) -> None:
    env = cycles(2, mode)
    result = rollout(still, env, episodes=10)
    # Environment i plays the episodes i, i + 2, ...: each length appears twice running.
    assert result.lengths.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 1, 1]
    assert result.returns.tolist() == [1, 1, 3, 3, 6, 6, 10, 10, 1, 1]
    assert result.steps == 22
    assert not env.closed  # a ready environment is left open


def test_next_step_ignores_what_the_resetting_transition_pays() -> None:
    result = rollout(still, PoisonedReset(cycles(3, AutoresetMode.NEXT_STEP)), episodes=9)
    assert result.returns.tolist() == [1, 1, 1, 3, 3, 3, 6, 6, 6]


@pytest.mark.parametrize("mode", MODES)
def test_actions_reach_the_environment_they_were_chosen_for(mode: AutoresetMode) -> None:
    # Pays 1 more in each first step. An action one step late or early would pay elsewhere.
    result = rollout(lambda obs: (obs[:, 0] == 0).astype(int), cycles(2, mode), episodes=8)
    assert result.returns.tolist() == [2, 2, 4, 4, 7, 7, 11, 11]


@pytest.mark.parametrize("mode", MODES)
def test_quota_does_not_favour_short_episodes(mode: AutoresetMode) -> None:
    # One environment has episodes of 1 step, the other of 50: half of the result each.
    env = SyncVectorEnv(
        [lambda: Cycle(period=1), lambda: Cycle(period=50, first=49)], autoreset_mode=mode
    )
    result = rollout(still, env, episodes=2)
    assert result.lengths.tolist() == [1, 50]
    env = SyncVectorEnv([lambda: Cycle(period=1), lambda: Cycle(period=1)], autoreset_mode=mode)
    assert rollout(still, env, episodes=5).lengths.tolist() == [1] * 5


def test_three_autoreset_modes_play_the_same_cartpole_episodes() -> None:
    def play(mode: AutoresetMode) -> RolloutResult:
        env = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 5, autoreset_mode=mode)
        result = rollout(Balance(), env, episodes=23, seed=3)
        env.close()
        return result

    results = [play(mode) for mode in MODES]
    assert len(set(results[0].lengths.tolist())) > 5
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].returns, other.returns)
        np.testing.assert_array_equal(results[0].lengths, other.lengths)


def test_ready_environment_with_more_environments_than_episodes() -> None:
    result = rollout(still, cycles(6, AutoresetMode.SAME_STEP), episodes=2, num_envs=1)
    assert result.returns.tolist() == [1, 1]
    assert result.num_envs == 6


def test_max_steps_cuts_episodes_off() -> None:
    result = rollout(still, cycles(2, AutoresetMode.DISABLED), episodes=8, max_steps=3)
    assert result.lengths.tolist() == [1, 1, 2, 2, 3, 3, 3, 3]
    assert result.returns.tolist() == [1, 1, 3, 3, 6, 6, 6, 6]
    assert rollout(Balance(), "CartPole-v1", episodes=5, max_steps=7).lengths.tolist() == [7] * 5


# ----------------------------------------------------------------------------------- seeds


def test_equal_seeds_equal_episodes_and_others_others() -> None:
    first, second, third = (rollout(damp, DRAW, episodes=30, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.returns, second.returns)
    assert first.ci95 == second.ci95
    assert not set(first.returns.tolist()) & set(third.returns.tolist())


@pytest.mark.parametrize("mode", MODES)
def test_ready_environments_are_seeded_too(mode: AutoresetMode) -> None:
    env = SyncVectorEnv([Draw] * 3, autoreset_mode=mode)
    first, second, third = (rollout(damp, env, episodes=12, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.returns, second.returns)
    # Neighbouring seeds share no stream, as seed, seed + 1, ... for the environments would.
    assert not set(first.returns.tolist()) & set(third.returns.tolist())


def test_episodes_do_not_depend_on_the_number_of_environments_or_on_the_other_episodes() -> None:
    wide = rollout(damp, DRAW, episodes=20, num_envs=8, seed=1)
    for num_envs, episodes in ((1, 20), (3, 20), (4, 13)):
        narrow = rollout(damp, DRAW, episodes=episodes, num_envs=num_envs, seed=1)
        np.testing.assert_array_equal(narrow.returns, wide.returns[:episodes])


def test_two_policies_meet_the_same_starts() -> None:
    def starts(gain: float) -> list[float]:
        seen: list[float] = []

        def act(observation: Any) -> Any:
            seen.extend(observation[:, 0].tolist())
            return gain * observation

        rollout(act, DRAW, episodes=6, num_envs=6, seed=5, max_steps=1)
        return seen

    assert starts(-0.5) == starts(0.3)


def test_async_environments_play_the_same_episodes() -> None:
    kwargs: dict[str, Any] = {"episodes": 5, "num_envs": 2, "seed": 2}
    sync = rollout(Balance(), "CartPole-v1", **kwargs)
    parallel = rollout(Balance(), "CartPole-v1", vectorization="async", **kwargs)
    np.testing.assert_array_equal(sync.returns, parallel.returns)


def test_native_environments_repeat() -> None:
    results = [
        rollout(Balance(), "CartPole-v1", vectorization="native", episodes=9, num_envs=4, seed=2)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)
    np.testing.assert_array_equal(results[0].returns, results[0].lengths)  # 1 a step, none more


# -------------------------------------------------------------------------------- policies


def test_predict_wins_over_calling() -> None:
    result = rollout(Still(), CYCLE, episodes=3, num_envs=1)
    assert result.lengths.tolist() == [1, 2, 3]


def test_compiled_policy() -> None:
    weight = np.array([[0, 0, -1, -0.5], [0, 0, 1, 0.5]], dtype=np.float32)
    layer = sa.Layer(sa.CSR.from_dense(weight), np.zeros(2, dtype=np.float32))
    act = sa.compile(sa.SparsePolicy((layer,), sa.Observation((4,)), sa.Argmax()), tune=0)

    def same(observation: Any) -> Any:
        return np.argmax(observation @ weight.T, axis=1)

    result = rollout(act, "CartPole-v1", episodes=4)
    assert result.mean > 150
    np.testing.assert_array_equal(
        result.returns, rollout(same, "CartPole-v1", episodes=4, num_envs=3).returns
    )
    with pytest.raises(ValueError, match="4"):
        rollout(act, DRAW)


def test_recurrent_state_travels_with_the_episode_starts() -> None:
    class Counts:
        """Pays its own count of steps: the state, put to zero where an episode begins."""

        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            state = np.zeros(len(observation)) if state is None else state
            if episode_start is not None:
                state = np.where(episode_start, 0.0, state)
            np.testing.assert_array_equal(state, observation[:, 0])
            return np.zeros(len(observation), dtype=np.int64), state + 1

    for mode in MODES:
        if mode is AutoresetMode.NEXT_STEP:
            continue  # there the final observation of an episode is shown too
        assert rollout(Counts(), cycles(2, mode), episodes=12).lengths.max() == 4


def test_recurrent_starts_in_next_step_mode() -> None:
    seen: list[tuple[bool, bool]] = []

    class Watches:
        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            if episode_start is not None:
                seen.extend(zip(observation[:, 0] == 0, episode_start, strict=True))
            return np.zeros(len(observation), dtype=np.int64), 0

    rollout(Watches(), cycles(2, AutoresetMode.NEXT_STEP), episodes=12)
    assert any(first for first, _ in seen)
    assert all(first == told for first, told in seen)


def test_mean_equals_evaluate_policy_of_stable_baselines3() -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Sb3Still:
        def predict(
            self,
            observation: Any,
            state: Any = None,
            episode_start: Any = None,
            deterministic: bool = False,
        ) -> tuple[Any, Any]:
            return np.zeros(len(observation), dtype=np.int64), state

    returns, lengths = evaluation.evaluate_policy(
        Sb3Still(),
        DummyVecEnv([lambda: Monitor(Cycle(period=5))] * 4),
        n_eval_episodes=22,
        return_episode_rewards=True,
    )
    result = rollout(Sb3Still(), cycles(4, AutoresetMode.NEXT_STEP, period=5), episodes=22)
    assert sorted(result.returns.tolist()) == sorted(returns)
    assert sorted(result.lengths.tolist()) == sorted(lengths)
    assert result.mean == pytest.approx(np.mean(returns))
    assert result.std == pytest.approx(np.std(returns))


# ---------------------------------------------------------------------------------- result


def test_result_describes_the_rollout() -> None:
    result = rollout(damp, DRAW, episodes=40, num_envs=8, seed=4)
    assert result.returns.shape == result.lengths.shape == (40,)
    assert result.lengths.sum() == result.steps
    assert result.ci95[0] < result.iqm < result.ci95[1]
    assert 0.0 < result.policy_share < 1.0
    assert result.steps_per_second == pytest.approx(result.steps / result.seconds)
    assert (result.env_id, result.num_envs, result.seed) == (DRAW, 8, 4)
    text = str(result)
    assert DRAW in text
    assert f"{result.iqm:.1f}" in text
    assert "40 episodes" in text
    with pytest.raises(ValueError, match="read-only"):
        result.returns[0] = 0.0


def test_policy_share_follows_the_cost_of_the_policy() -> None:
    def slow(observation: Any) -> Any:
        for _ in range(2_000):
            still(observation)
        return still(observation)

    cheap = rollout(still, CYCLE, episodes=20).policy_share
    dear = rollout(slow, CYCLE, episodes=20).policy_share
    assert 0.0 <= cheap < dear <= 1.0
    assert dear > 0.5


def test_equal_returns_have_an_interval_of_no_width() -> None:
    result = rollout(Balance(), "CartPole-v1", episodes=6, max_steps=5)
    assert result.ci95 == (5.0, 5.0)
    assert (result.iqm, result.std) == (5.0, 0.0)


def test_never_more_environments_than_episodes() -> None:
    result = rollout(damp, DRAW, episodes=3, num_envs=8)
    assert result.num_envs == 3
    assert len(result.returns) == 3


def test_own_environments_are_closed_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(SyncVectorEnv, "close", lambda self, **_: closed.append(1))
    rollout(still, CYCLE, episodes=2)
    assert len(closed) == 1
    with pytest.raises(ZeroDivisionError):
        rollout(lambda observation: 1 // 0, CYCLE, episodes=2)
    assert len(closed) == 2
    rollout(still, cycles(2, AutoresetMode.NEXT_STEP), episodes=2)
    assert len(closed) == 2


def test_import_is_light() -> None:
    code = (
        "import sys, sparseagent.rollouts\n"
        "heavy = {'torch', 'scipy', 'gymnasium', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"episodes": 0}, ValueError, "episodes must be at least 1, got 0"),
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1, got 0"),
        ({"episodes": 2.0}, TypeError, "episodes must be an integer, got float"),
        ({"num_envs": True}, TypeError, "num_envs must be an integer, got bool"),
        ({"env": "NoSuchThing-v0"}, ValueError, "env: gymnasium cannot make 'NoSuchThing-v0'"),
        ({"env": "not an id"}, ValueError, "env: gymnasium cannot make 'not an id'"),
        ({"env": 3}, TypeError, "env must be an environment id, .* got int"),
        ({"env": Cycle()}, TypeError, "env must be an environment id, .* got Cycle"),
        ({"act": 3}, TypeError, "act must be callable or have a predict method, got int"),
        ({"backend": "jax"}, ValueError, "backend must be .* got 'jax'"),
        ({"vectorization": "threads"}, ValueError, "vectorization must be .* got 'threads'"),
        ({"vectorization": "native"}, ValueError, "vector entry point"),
        ({"act": Balance()}, ValueError, r"act expects observations of shape \(4,\).* \(2,\)"),
        (
            {"act": lambda obs: np.zeros((len(obs), 2))},
            ValueError,
            r"actions of shape \(3,\) for Discrete\(2\), got \(3, 2\)",
        ),
        ({"act": lambda obs: np.zeros(len(obs))}, TypeError, "integer actions .* got float64"),
        ({"act": lambda obs: np.zeros(1, int)}, ValueError, r"shape \(3,\) .* got \(1,\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    call: dict[str, Any] = {"act": still, "env": CYCLE, "episodes": 3, **arguments}
    with pytest.raises(error, match=message):
        rollout(call.pop("act"), call.pop("env"), **call)


def test_predict_must_return_a_pair() -> None:
    class Bare:
        def predict(self, observation: Any, *, deterministic: bool = False) -> Any:
            return np.zeros(len(observation), dtype=np.int64)

    with pytest.raises(TypeError, match=r"must return \(actions, state\), got ndarray"):
        rollout(Bare(), CYCLE, episodes=2)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_what_a_ready_environment_cannot_take(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=f"max_steps .* got 5 with Sync.* of mode {mode.value}"):
        rollout(still, cycles(2, mode), max_steps=5)
    with pytest.raises(ValueError, match="env_kwargs needs an environment id"):
        rollout(still, cycles(2, mode), env_kwargs={"period": 3})


def test_unknown_autoreset_mode_is_refused() -> None:
    env: VectorEnv[Any, Any, Any] = cycles(2, AutoresetMode.NEXT_STEP)
    del env.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\] must be one of"):
        rollout(still, env)


def test_env_kwargs_reach_the_environment() -> None:
    result = rollout(still, CYCLE, episodes=4, num_envs=1, env_kwargs={"period": 2})
    assert result.lengths.tolist() == [1, 2, 1, 2]


# --------------------------------------------------------------------------------- EnvPool


def _envpool() -> Any:
    return pytest.importorskip("envpool", reason="EnvPool is not installed")


def test_envpool_counts_no_resetting_transition_and_repeats() -> None:
    _envpool()
    first, second = (
        rollout(Balance(), "CartPole-v1", backend="envpool", episodes=21, num_envs=4, seed=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.returns, second.returns)
    np.testing.assert_array_equal(first.returns, first.lengths)
    assert (first.env_id, first.num_envs, first.seed) == ("CartPole-v1", 4, 2)


def test_envpool_agrees_with_gymnasium_in_distribution() -> None:
    _envpool()
    ours = rollout(Balance(), "CartPole-v1", episodes=300)
    pool = rollout(Balance(), "CartPole-v1", backend="envpool", episodes=300)
    error = np.hypot(ours.std, pool.std) / np.sqrt(300)
    assert abs(ours.mean - pool.mean) < 5 * error


def test_ready_envpool() -> None:
    env = _envpool().make("CartPole-v1", env_type="gymnasium", num_envs=3, seed=1)
    result = rollout(Balance(), env, episodes=7)
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert result.seed is None
    env.step(np.zeros(3, dtype=np.int64))  # still open


def test_envpool_errors() -> None:
    envpool = _envpool()
    with pytest.raises(ValueError, match="EnvPool has no environment 'NoSuchThing-v0'"):
        rollout(still, "NoSuchThing-v0", backend="envpool")
    with pytest.raises(ValueError, match="max_steps needs environments that rollout may reset"):
        rollout(still, "CartPole-v1", backend="envpool", max_steps=5)
    with pytest.raises(TypeError, match="env_type 'gymnasium', got CartPoleDMEnvPool"):
        rollout(still, envpool.make("CartPole-v1", env_type="dm", num_envs=2))
    with pytest.raises(ValueError, match="batch_size=2 of num_envs=4"):
        rollout(still, envpool.make("CartPole-v1", env_type="gymnasium", num_envs=4, batch_size=2))


def test_missing_envpool_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"sparseagent\[envpool\]"):
        rollout(still, "CartPole-v1", backend="envpool")
