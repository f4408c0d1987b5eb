import pytest

from sparseagent.train import configure
from sparseagent.train.agent import make_envs, make_model
from sparseagent.train.callbacks import CurveRecorder
from sparseagent.train.falling import Hold, is_falling, parse_falling
from sparseagent.train.folder import open_folder
from sparseagent.train.progress import Display
from sparseagent.train.stage import Extras, Stage, train_stage


def test_a_held_value_stays_and_then_falls_to_zero_by_hand():
    rate = Hold(0.4, until=0.6)
    assert [rate(left) for left in (1.0, 0.7, 0.5)] == [0.4, 0.4, 0.4]
    assert rate(0.2) == pytest.approx(0.2)
    assert rate(0.1) == pytest.approx(0.1)
    assert rate(0.0) == 0.0


def test_a_value_that_is_held_to_the_end_never_falls():
    assert [Hold(0.4, until=1.0)(left) for left in (1.0, 0.5, 0.0)] == [0.4, 0.4, 0.4]


def test_a_value_that_is_never_held_falls_as_a_linear_one():
    hold, linear = Hold(0.4, until=0.0), parse_falling("learning_rate", "lin_0.4", until=0.6)
    for left in (1.0, 0.6, 0.3, 0.0):
        assert hold(left) == pytest.approx(linear(left))


def test_strings_are_told_apart():
    assert parse_falling("x", "hold_0.1", until=0.5) == Hold(0.1, 0.5)
    assert [is_falling(x) for x in ("lin_1", "hold_x", "auto", 0.1)] == [True, True, False, False]
    with pytest.raises(ValueError, match="x: expected 'hold_<number>', got 'hold_fast'"):
        parse_falling("x", "hold_fast", until=0.5)


def test_a_model_holds_until_pruning_stops():
    config = configure(
        "CartPole-v1", prune_stop=0.75, hyperparameters={"learning_rate": "hold_0.01"}
    )
    envs = make_envs(config, seed=0)
    assert make_model(config, envs, seed=0).lr_schedule(0.125) == pytest.approx(0.005)
    twice = make_model(config, envs, seed=0, timesteps=2 * config.total_timesteps)
    assert twice.lr_schedule(0.625) == pytest.approx(0.01)
    assert twice.lr_schedule(0.3125) == pytest.approx(0.005)
    envs.close()


def test_a_model_that_first_collects_holds_until_its_masks_freeze():
    config = configure(
        "Pendulum-v1",
        "sac",
        net_arch=(8, 8),
        total_timesteps=1000,
        prune_stop=0.5,
        hyperparameters={"learning_starts": 200, "learning_rate": "hold_0.01"},
    )
    assert config.ramp_steps[1] == 600
    envs = make_envs(config, seed=0)
    rate = make_model(config, envs, seed=0).lr_schedule
    assert [rate(1 - step / 1000) for step in (500, 600)] == [0.01, 0.01]
    assert rate(1 - 800 / 1000) == pytest.approx(0.005)
    envs.close()


@pytest.mark.parametrize(("agent", "steps"), [("pruned", 1536), ("dense", 1024)])
def test_extra_fine_tuning_leaves_the_fall_where_the_mask_freezes(agent, steps, tmp_path):
    """The rate of each update of a training; its masks freeze at step 512."""
    config = configure(
        "CartPole-v1",
        net_arch=(8, 8),
        n_envs=1,
        total_timesteps=1024,
        finetune_timesteps=512,
        prune_start=0.25,
        prune_stop=0.5,
        out=str(tmp_path / "run"),
        hyperparameters={
            "n_steps": 128,
            "batch_size": 128,
            "n_epochs": 1,
            "learning_rate": "hold_0.01",
        },
    )
    rates = {}

    class Watch(CurveRecorder):
        def _on_rollout_end(self) -> None:
            model = self.model
            left = 1 - model.num_timesteps / steps
            rates[model.num_timesteps] = model.lr_schedule(left)

    folder, _ = open_folder(config)
    stage = Stage(agent, 0, steps, (8, 8), ((agent, steps),))
    extras = Extras(callbacks=(Watch(lambda: 0.0, []),))
    train_stage(config, stage, folder, Display(), extras)
    assert rates[512] == pytest.approx(0.01)
    assert rates[640] == pytest.approx(0.01 * (steps - 640) / (steps - 512))
    assert rates[steps] == pytest.approx(0.0, abs=1e-9)
