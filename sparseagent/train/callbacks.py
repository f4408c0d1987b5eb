"""Stable-Baselines3 callbacks of a training stage: learning curve, progress, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from sparseagent.train.progress import Bar, Display

#: Columns of a stage's learning curve; one row per training episode.
CURVE_COLUMNS = ("timesteps", "return", "length", "sparsity", "seconds")


class CurveRecorder(BaseCallback):
    """Write down every training episode: its undiscounted, unnormalised return and length.

    Args:
        sparsity: gives the actor's sparsity at the moment, in [0, 1).
        rows: episodes from before a checkpoint; new ones are added to the list.
        seconds: processor seconds of training from before the checkpoint.
    """

    def __init__(
        self, sparsity: Callable[[], float], rows: list[dict[str, Any]], seconds: float = 0.0
    ) -> None:
        super().__init__()
        self.rows = rows
        self._sparsity = sparsity
        self._began = time.process_time() - seconds

    @property
    def seconds(self) -> float:
        """Processor seconds of training, those before a checkpoint included.

        Not wall-clock time: that counts neighbours on the machine and pauses as training.
        """
        return time.process_time() - self._began

    def recent_return(self, episodes: int = 20) -> float | None:
        """Mean return of the last few training episodes, or None before the first has ended."""
        recent = [float(row["return"]) for row in self.rows[-episodes:]]
        return sum(recent) / len(recent) if recent else None

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            episode = info.get("episode")
            if episode is not None:
                self.rows.append(
                    {
                        "timesteps": self.num_timesteps,
                        "return": float(episode["r"]),
                        "length": int(episode["l"]),
                        "sparsity": round(self._sparsity(), 6),
                        "seconds": round(self.seconds, 3),
                    }
                )
        return True


class StageProgress(BaseCallback):
    """One bar per section of a stage.

    Args:
        display: where to draw.
        sections: `(title, last environment step)` in order.
        note: a short remark for the bar, asked for now and then.
    """

    def __init__(
        self, display: Display, sections: Sequence[tuple[str, int]], note: Callable[[], str]
    ) -> None:
        super().__init__()
        self._display, self._sections, self._note = display, list(sections), note
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._offset = 0
        self._drawn = 0.0

    def _on_training_start(self) -> None:
        self._next_section()

    def _on_step(self) -> bool:
        now = time.monotonic()
        if self._sections and self.num_timesteps >= self._sections[0][1]:
            self._finish_section()
            self._next_section()
        elif now - self._drawn > 0.2:
            self._drawn = now
            self._update(self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        self._finish_section()

    def close(self) -> None:
        """Leave the screen tidy, whatever ended the training."""
        self._stack.close()
        self._bar = None

    def _next_section(self) -> None:
        while self._sections and self.num_timesteps >= self._sections[0][1]:
            self._offset = self._sections.pop(0)[1]
        if self._sections:
            title, end = self._sections[0]
            bar = self._display.bar(title, end - self._offset, self.num_timesteps - self._offset)
            self._bar = self._stack.enter_context(bar)

    def _finish_section(self) -> None:
        if self._bar is not None:
            self._update(self._sections[0][1])
        self.close()

    def _update(self, timesteps: int) -> None:
        if self._bar is not None:
            self._bar.update(timesteps - self._offset, self._note())


class Checkpoints(BaseCallback):
    """Save the state of a training every `seconds` of wall-clock time.

    It saves where a rollout starts, when the last update is complete and nothing has been
    collected yet: what is resumed is then exactly what would have gone on. A checkpoint that takes
    long (a large replay buffer) is made less often, so that saving costs 5 % of the time at most.

    Args:
        seconds: between the end of one checkpoint and the start of the next.
        save: writes one checkpoint.
        restore: called where a rollout starts; goes on in the state of a checkpoint the first time.
    """

    def __init__(
        self, seconds: float, save: Callable[[], None], restore: Callable[[], None]
    ) -> None:
        super().__init__()
        self._seconds, self._save, self._restore = seconds, save, restore
        self._due = time.monotonic() + seconds

    def _on_rollout_start(self) -> None:
        self._restore()
        began = time.monotonic()
        if began < self._due or self.model.num_timesteps == 0:
            return
        self._save()
        now = time.monotonic()
        self._due = now + max(self._seconds, 20 * (now - began))

    def _on_step(self) -> bool:
        return True
