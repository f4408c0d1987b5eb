"""The schedule that waits until the return has risen."""

import warnings

import pytest
import torch
from sb3_runs import ppo
from sparsified import train_step

from sparseagent.prune import Cubic, InputNorm, Magnitude, Sparsifier, Warmup
from sparseagent.prune.track import Track

SLOW = {"start": 0.1, "stop": 0.9, "latest": 0.5, "rise": 0.75, "average": 4}


def _heard(schedule, signals, track=None):
    track = Track() if track is None else track
    for signal in signals:
        track = schedule.hear(track, signal)
    return track


def test_the_rise_by_hand():
    schedule = Warmup(to=0.9, **SLOW)
    flat = _heard(schedule, [-500.0] * 40)
    assert not flat.risen
    assert (flat.worst, flat.best) == (0.5, 0.5)  # nothing but ties
    # One lucky episode of four: 1/4 + 3/8; two of four: 2/4 + 2/8 = 0.75.
    one = _heard(schedule, [-499.0], flat)
    assert one.best == 0.625
    assert not one.risen
    two = _heard(schedule, [-100.0], one)
    assert two.risen
    assert two.best == 0.75
    assert two.first == two.latest == ()
    assert _heard(schedule, [-500.0] * 10, two) == two


def test_how_far_an_episode_is_above_does_not_matter():
    schedule = Warmup(to=0.9, **SLOW)
    assert not _heard(schedule, [0.0] * 7 + [1e9]).risen
    assert _heard(schedule, [0.0] * 6 + [1e-9] * 2).risen


def test_the_ramp_begins_with_the_rise_and_ends_at_the_stop():
    schedule = Warmup(to=0.9, **SLOW)
    track = schedule.pass_by(Track(), 0.0, 0.05)
    assert track.earned == 0.05
    track = schedule.pass_by(track, 0.05, 0.3)
    assert track.earned == 0.1
    assert schedule(track.earned) == 0.0
    track.risen = True
    track = schedule.pass_by(track, 0.3, 0.6)  # half of what is left until 0.9
    assert track.earned == pytest.approx(0.5)
    assert schedule(track.earned) == pytest.approx(Cubic(0.9, 0.1, 0.9)(0.5))
    for now in range(61, 100):
        track = schedule.pass_by(track, (now - 1) / 100, now / 100)
    assert schedule(track.earned) == 0.9


def test_the_ramp_begins_at_the_latest_without_a_rise():
    schedule = Warmup(to=0.9, **SLOW)
    track = schedule.pass_by(Track(), 0.0, 0.7)  # half of the way from 0.5 to 0.9
    assert track.earned == pytest.approx(0.5)
    assert schedule.pass_by(track, 0.7, 0.9).earned == 0.9


def test_a_rise_before_the_start_gives_the_plain_ramp():
    schedule = Warmup(to=0.9, **SLOW)
    track = Track(risen=True)
    for step in range(1, 101):
        track = schedule.pass_by(track, (step - 1) / 100, step / 100)
        assert schedule(track.earned) == pytest.approx(Cubic(0.9, 0.1, 0.9)(step / 100))


def _run(return_of, schedule):
    """Three of fifty inputs can be learned, from the second half of the run on."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(50, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    sparsifier = Sparsifier(net, score=InputNorm(), schedule=schedule, layers=["0"])
    sparsifier.attach(optimizer, total_updates=1000)
    generator = torch.Generator().manual_seed(1)
    for update in range(1000):
        x = torch.randn(64, 50, generator=generator)
        y = x[:, (4, 17, 33)].sum(1, keepdim=True)
        y = y if update >= 400 else torch.randn(64, 1, generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        if sparsifier.wants_reports:
            sparsifier.report(return_of(update))
        optimizer.step()
    assert sparsifier.finished
    return sparsifier.masks["0.weight"].any(0).nonzero().flatten().tolist()


def test_what_is_learned_late_stays():
    late = lambda update: float(update >= 450)  # noqa: E731
    assert _run(late, Warmup(to=0.94, stop=0.9, latest=0.8)) == [4, 17, 33]
    # A ramp by the clock is over before there is anything to learn.
    assert not {4, 17, 33} <= set(_run(late, Cubic(to=0.94, start=0.1, stop=0.4)))


def test_a_resumed_run_equals_an_unbroken_one(make_net):
    schedule = Warmup(to=0.8, stop=0.9, latest=0.8, average=5, rise=0.7)

    def make():
        net = make_net(6, 16, 3)
        sparsifier = Sparsifier(net, score=Magnitude(), schedule=schedule, every=1)
        return net, torch.optim.SGD(net.parameters(), lr=0.1), sparsifier

    def go(sparsifier, optimizer, net, start, stop):
        for index in range(start, stop):
            sparsifier.report(float(index // 10))
            train_step(net, optimizer, index)

    net, optimizer, unbroken = make()
    unbroken.attach(optimizer, total_updates=60)
    go(unbroken, optimizer, net, 0, 60)
    for broken in (8, 31):
        net, optimizer, first = make()
        first.attach(optimizer, total_updates=60)
        go(first, optimizer, net, 0, broken)
        rest, optimizer, second = make()
        rest.load_state_dict(net.state_dict())
        second.load_state_dict(first.state_dict())
        second.attach(optimizer, total_updates=60)
        go(second, optimizer, rest, broken, 60)
        assert second.sparsity() == unbroken.sparsity() > 0.79
        assert all(torch.equal(unbroken.masks[n], mask) for n, mask in second.masks.items())


def test_a_state_from_before_this_schedule_is_taken(make_net):
    sparsifier = Sparsifier(make_net(4, 4), score=Magnitude(), schedule=Cubic(to=0.5))
    state = sparsifier.state_dict()
    for name in ("first", "latest", "risen"):
        del state["track"][name]
    sparsifier.load_state_dict(state)
    state["track"]["first"] = "many"
    with pytest.raises(ValueError, match="state: expected tuples of numbers"):
        sparsifier.load_state_dict(state)


def test_the_callback_reports_returns_and_warns_where_they_never_rose():
    model = ppo()
    schedule = Warmup(to=0.8, average=16, rise=1.0, latest=0.3)
    sparsifier = Sparsifier(model.policy, score=Magnitude(), schedule=schedule)
    with pytest.warns(UserWarning, match="the return did not rise before pruning had to begin"):
        model.learn(320, callback=sparsifier.callback())
    assert sparsifier.has_risen is False
    assert sparsifier.sparsity() == pytest.approx(0.8, abs=0.01)
    model = ppo()
    schedule = Warmup(to=0.8, average=2, rise=0.51)
    sparsifier = Sparsifier(model.policy, score=Magnitude(), schedule=schedule)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(320, callback=sparsifier.callback())
    assert sparsifier.has_risen
    assert Sparsifier(model.policy, score=Magnitude(), schedule=Cubic(0.5)).has_risen is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"to": 1.0}, ValueError, "to: expected a sparsity"),
        ({"start": 0.8}, ValueError, "stop: expected more than start"),
        ({"latest": 0.8}, ValueError, r"latest: expected a progress in \[0.0, 0.8\)"),
        ({"rise": 0.5}, ValueError, "rise: expected more than 0.5"),
        ({"rise": 1.5}, ValueError, "rise: expected a fraction"),
        ({"average": 1}, ValueError, "average: expected at least 2"),
        ({"average": 2.5}, TypeError, "average: expected an int"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        Warmup(**{"to": 0.9, **options})
