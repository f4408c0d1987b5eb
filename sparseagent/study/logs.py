"""Where a training logs: TensorBoard always, Weights & Biases where a study asks for it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat

from sparseagent.study.cells import Cell


class WandbWriter(KVWriter):
    """Hands what Stable-Baselines3 logs on to Weights & Biases.

    Args:
        run: what `wandb.init` has given.
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Log the numbers among `key_values`."""
        numbers = {k: v for k, v in key_values.items() if isinstance(v, (int, float))}
        self._run.log(numbers, step=step)

    def close(self) -> None:
        """Upload or write what is left."""
        self._run.finish()


def open_logger(cell: Cell, stack: ExitStack, wandb: str = "off") -> Logger:
    """A logger for one cell, closed by `stack`.

    Args:
        cell: what is trained; TensorBoard's events lie in `tensorboard/` of its run folder.
        stack: closes the logger.
        wandb: `"off"`, `"offline"` (files in the run folder alone) or `"online"`.

    Raises:
        ImportError: Weights & Biases is asked for and not installed.
    """
    folder = cell.folder / "tensorboard"
    writers: list[KVWriter] = [TensorBoardOutputFormat(str(folder))]
    if wandb != "off":
        writers.append(WandbWriter(_wandb_run(cell, cell.folder, wandb)))
    logger = Logger(str(folder), writers)
    stack.callback(logger.close)
    return logger


def _wandb_run(cell: Cell, folder: Path, mode: Any) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ImportError(
            "wandb: Weights & Biases is not installed: pip install 'sparseagent[study]'"
        ) from error
    return wandb.init(
        project=f"sparseagent-{cell.study}",
        name=str(cell),
        group=cell.config.env,
        config={**asdict(cell.config), "method": cell.method.name},
        dir=str(folder),
        mode=mode,
        reinit="finish_previous",
    )
