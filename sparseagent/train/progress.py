"""Progress of long steps: a bar on a terminal, one line every few seconds anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from sparseagent.console import open_console

#: Seconds between two lines where there is no terminal.
LINE_SECONDS = 5.0


class Bar(Protocol):
    """The progress of one step; a context manager."""

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` units are behind us; `note` is a short remark such as the return."""

    def __enter__(self) -> Bar:
        """Start the clock."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""


class Pace:
    """Units per second and seconds left, counted from the first unit that this process did."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.first = total, done
        self.began = time.monotonic()

    def text(self, done: int) -> str:
        """For instance `"7,210/s, 8 s left"`."""
        seconds = time.monotonic() - self.began
        rate = (done - self.first) / max(seconds, 1e-9)
        if done >= self.total:
            return f"{_rate(rate)}, took {duration(seconds)}"
        if done <= self.first or rate <= 0:
            return "starting"
        return f"{_rate(rate)}, {duration((self.total - done) / rate)} left"


class TerminalBar:
    """A live bar drawn by rich, made to fit 80 columns."""

    def __init__(self, console: Console, title: str, total: int, done: int) -> None:
        self._pace = Pace(total, done)
        self._progress = Progress(
            TextColumn("{task.description:<15}", markup=False),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
        )
        self._task: TaskID = self._progress.add_task(
            title, total=total, completed=done, pace="starting", note=""
        )

    def update(self, done: int, note: str = "") -> None:
        """Move the bar to `done`."""
        self._progress.update(self._task, completed=done, pace=self._pace.text(done), note=note)

    def __enter__(self) -> TerminalBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class LineBar:
    """Lines of plain text, for logs and pipes: the first, one every few seconds, the last."""

    def __init__(self, console: Console, title: str, total: int, done: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._pace = Pace(total, done)
        self._done, self._note = done, ""
        self._spoke = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Remember `done`; speak if the last line is a while ago and another follows."""
        self._done, self._note = done, note
        if done < self._total and time.monotonic() - self._spoke >= LINE_SECONDS:
            self._speak()

    def __enter__(self) -> LineBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._speak()

    def _speak(self) -> None:
        self._spoke = time.monotonic()
        parts = [f"{self._done:,} of {self._total:,}", self._pace.text(self._done), self._note]
        line = f"{self._title:<15} " + " | ".join(part for part in parts if part)
        self._console.print(Text(line), soft_wrap=True)


class Display:
    """Where a run shows its progress: a rich console, or nowhere."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = open_console(quiet=quiet) if console is None else console

    def bar(self, title: str, total: int, done: int = 0) -> Bar:
        """A bar for `total` units of which `done` are behind us already."""
        kind = TerminalBar if self.console.is_terminal else LineBar
        return kind(self.console, title, total, done)

    def say(self, text: str, style: str = "") -> None:
        """One line or paragraph as it is, in a style of rich such as `"bold"`."""
        self.console.print(Text(text, style), soft_wrap=not self.console.is_terminal)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def duration(seconds: float) -> str:
    """A duration for a reader: `7 s`, `3:05 min`, `2:03 h`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
