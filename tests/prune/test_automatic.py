"""The automatic schedule: prunes while the signal is good, waits while it is not."""

import gymnasium as gym
import pytest
import torch
from sb3_runs import Drift, dqn, ppo, small
from sparsified import assert_zeros, train_step
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from sparseagent.prune import Automatic, Magnitude, OneShot, Sparsifier
from sparseagent.prune.track import Track


def automatic(module, **options):
    settings = {"limit": 0.9, "start": 0.0, "stop": 1.0, "step": 0.5, "average": 1, **options}
    return Sparsifier(module, score=Magnitude(), schedule=Automatic(**settings), every=1)


def test_the_density_falls_geometrically():
    schedule = Automatic(limit=0.99, start=0.2, stop=0.8)
    assert schedule(0.0) == schedule(0.2) == 0.0
    assert schedule(0.5) == pytest.approx(0.9)
    assert schedule(0.8) == schedule(1.0) == 0.99


def test_judgement_by_hand():
    schedule = Automatic(limit=0.99, start=0.0, stop=1.0, tolerance=0.1, step=0.9, average=2)
    # A share of 0.9 is half of the way to a density of 0.01.
    track = schedule.hear(Track(), 0.0)
    assert track == Track(count=1, total=0.0)
    track = schedule.hear(track, 20.0)
    assert track == Track(earned=0.0, allowed=pytest.approx(0.5), worst=10.0, best=10.0)
    track = schedule.pass_by(track, 0.0, 0.3)
    assert track.earned == pytest.approx(0.3)
    # 110 is the best. 100 is 0.1 of the way below it: borne. 99 is not.
    for signal, allowed in ((110.0, 0.8), (100.0, 0.8), (99.0, 0.3)):
        track = schedule.hear(schedule.hear(track, signal), signal)
        assert track.allowed == pytest.approx(allowed)
        assert (track.worst, track.best) == (10.0, 110.0)
    assert schedule.pass_by(track, 0.3, 0.6).earned == pytest.approx(0.3)


def test_progress_before_the_start_is_free_and_after_the_stop_earns_nothing():
    schedule = Automatic(limit=0.9, start=0.3, stop=0.6)
    assert schedule.pass_by(Track(), 0.0, 0.2).earned == pytest.approx(0.2)
    assert schedule.pass_by(Track(), 0.0, 0.5).earned == pytest.approx(0.3)
    allowed = Track(earned=0.3, allowed=1.0)
    assert schedule.pass_by(allowed, 0.5, 0.9).earned == pytest.approx(0.4)
    assert schedule.pass_by(allowed, 0.7, 0.9).earned == pytest.approx(0.3)


def test_without_reports_nothing_is_pruned(make_net):
    sparsifier = automatic(make_net(6, 16, 3))
    for update in range(1, 101):
        sparsifier.advance(update / 100)
    assert sparsifier.sparsity() == 0.0
    assert sparsifier.finished


def test_a_good_signal_leads_to_the_limit(make_net):
    sparsifier = automatic(make_net(6, 16, 3))
    for update in range(1, 101):
        sparsifier.report(float(update))
        sparsifier.advance(update / 100)
    assert sparsifier.sparsity() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("knee", [0.5, 0.7])
def test_it_stops_at_the_sparsity_that_the_agent_bears(make_net, knee):
    """An agent whose return breaks down above a known sparsity."""
    net = make_net(8, 32, 4)
    sparsifier = automatic(net, limit=0.99, step=0.05)
    before = sparsifier.masks
    for update in range(1, 401):
        sparsifier.report(100.0 if sparsifier.sparsity() <= knee else 50.0)
        if update == 1:
            sparsifier.report(0.0)
            sparsifier.report(100.0)
        sparsifier.advance(update / 400)
        masks = sparsifier.masks
        assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
    # One step beyond the knee shows that it is one.
    assert knee < sparsifier.sparsity() <= 1 - (1 - knee) * 0.95 + 0.01
    assert_zeros(net, sparsifier)


def test_a_run_that_recovers_is_pruned_on(make_net):
    sparsifier = automatic(make_net(8, 32, 4), step=0.3)
    path = []
    for update in range(1, 101):
        sparsifier.report(0.0 if update == 1 or 30 <= update < 60 else 1.0)
        sparsifier.advance(update / 100)
        path.append(sparsifier.sparsity())
    assert 0.0 < path[28] == path[58] < path[70]


def test_a_resumed_run_equals_an_unbroken_one(make_net):
    def go(sparsifier, optimizer, net, start, stop):
        for index in range(start, stop):
            sparsifier.report(float(index % 7))
            train_step(net, optimizer, index)

    def make():
        net = make_net(6, 16, 3)
        sparsifier = automatic(net, average=3, tolerance=0.5, step=0.1)
        return net, torch.optim.SGD(net.parameters(), lr=0.1), sparsifier

    net, optimizer, unbroken = make()
    unbroken.attach(optimizer, total_updates=60)
    go(unbroken, optimizer, net, 0, 60)
    net, optimizer, first = make()
    first.attach(optimizer, total_updates=60)
    go(first, optimizer, net, 0, 31)
    rest, optimizer, second = make()
    rest.load_state_dict(net.state_dict())
    second.load_state_dict(first.state_dict())
    assert 0.0 < second.sparsity() < unbroken.sparsity() < 0.9
    second.attach(optimizer, total_updates=60)
    go(second, optimizer, rest, 31, 60)
    assert second.sparsity() == unbroken.sparsity()
    assert all(torch.equal(unbroken.masks[n], mask) for n, mask in second.masks.items())


@pytest.mark.parametrize("make", [ppo, dqn])
def test_the_callback_reports_the_returns_of_episodes(make):
    model = make()
    schedule = Automatic(limit=0.8, tolerance=1.0, step=0.9, average=2)
    sparsifier = Sparsifier(model.policy, score=Magnitude(), schedule=schedule)
    model.learn(320, callback=sparsifier.callback())
    track = sparsifier.state_dict()["track"]
    # 32 episodes of ten steps. With a tolerance of 1 nothing is ever too bad.
    assert track["worst"] < track["best"]
    assert track["count"] == 0
    assert sparsifier.sparsity() == pytest.approx(0.8, abs=0.01)
    assert sparsifier.finished


class Endless(gym.Wrapper):
    def step(self, action):
        observation, reward, _, _, info = self.env.step(action)
        return observation, reward, False, False, info


def test_a_run_without_episodes_says_so():
    model = PPO(
        "MlpPolicy", DummyVecEnv([lambda: Endless(Drift())]), n_steps=32, batch_size=16, **small()
    )
    sparsifier = Sparsifier(model.policy, score=Magnitude(), schedule=Automatic())
    with pytest.raises(RuntimeError, match="without enough episodes for the schedule"):
        model.learn(64, callback=sparsifier.callback())


def test_only_an_automatic_schedule_takes_reports(make_net):
    sparsifier = Sparsifier(make_net(4, 4), score=Magnitude(), schedule=OneShot(to=0.5))
    assert not sparsifier.wants_reports
    with pytest.raises(
        ValueError, match=r"report: expected a schedule that goes by reports, .* got OneShot"
    ):
        sparsifier.report(1.0)
    for signal in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="signal: expected a finite number"):
            automatic(make_net(4, 4)).report(signal)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 1.0}, ValueError, "limit: expected a sparsity"),
        ({"limit": 0.0}, ValueError, "limit: expected more than 0"),
        ({"start": 0.8}, ValueError, "stop: expected more than start"),
        ({"tolerance": 2}, ValueError, "tolerance: expected a fraction"),
        ({"step": 0.0}, ValueError, "step: expected more than 0"),
        ({"average": 0}, ValueError, "average: expected at least 1"),
        ({"average": 2.5}, TypeError, "average: expected an int"),
    ],
)
def test_bad_arguments_raise(options, error, message):
    with pytest.raises(error, match=message):
        Automatic(**options)
