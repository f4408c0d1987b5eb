import io

import pytest
from rich.console import Console

from sparseagent.train import progress
from sparseagent.train.progress import Display


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_without_a_terminal_a_line_every_few_seconds(clock):
    stream = io.StringIO()
    display = Display(Console(file=stream, width=120))
    with display.bar("2/5 train", total=1000) as bar:
        for second in range(11):
            clock.now = 100.0 + second
            bar.update(second * 90, "return 12.5")
        bar.update(1000, "return 99.0")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "450 of 1,000 | 90/s, 6 s left | return 12.5" in lines[0]
    assert "900 of 1,000" in lines[1]
    assert "1,000 of 1,000 | 100/s, took 10 s | return 99.0" in lines[2]


def test_the_pace_counts_only_what_this_process_did(clock):
    stream = io.StringIO()
    with Display(Console(file=stream, width=120)).bar("x", total=1000, done=900) as bar:
        clock.now += 10.0
        bar.update(950)
    assert "950 of 1,000 | 5.0/s, 10 s left" in stream.getvalue()


def test_on_a_terminal_a_live_bar():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with Display(console).bar("2/5 train", total=1000) as bar:
        bar.update(1000, "return 99.0")
    assert "2/5 train" in stream.getvalue()
    assert "100%" in stream.getvalue()
    assert "return 99.0" in stream.getvalue()


def test_quiet_says_nothing(capsys):
    display = Display(quiet=True)
    display.say("hello")
    with display.bar("x", total=2) as bar:
        bar.update(2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (99.4, "99 s"), (185, "3:05 min"), (7384, "2:03 h")]
)
def test_durations_are_readable(seconds, text):
    assert progress.duration(seconds) == text
