"""The summary of a sparsifier as text."""

from __future__ import annotations

from collections.abc import Sequence

from sparseagent.prune.layout import Part
from sparseagent.prune.mask_set import MaskSet


def summary_table(
    parts: Sequence[Part], masks: MaskSet, acting: tuple[int, int] | None = None
) -> str:
    """A text table: one row per weight, one per part, one for all.

    Args:
        parts: What is pruned.
        masks: Their masks.
        acting: (kept, in all) of the network that runs when an agent acts, or `None`.

    Returns:
        Lines of equal width, without a newline at the end.
    """
    rows = [("weight", "part", "shape", "kept", "of", "sparsity")]
    for part in parts:
        for layer in part.layers:
            shape = " x ".join(str(size) for size in layer.weight.shape)
            counts = _counts(masks.kept([layer]), layer.weight.numel())
            rows.append((layer.name, part.name, shape, *counts))
    totals = [(part.name, masks.kept(part.layers), part.budget(0.0)) for part in parts]
    if len(parts) > 1:
        rows += [("total", name, "", *_counts(count, of)) for name, count, of in totals]
    all_kept, all_of = sum(count for _, count, _ in totals), sum(of for _, _, of in totals)
    rows.append(("total", "all", "", *_counts(all_kept, all_of)))
    if acting is not None:
        rows.append(("acting network", "in all", "", *_counts(*acting)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    # Names to the left, numbers to the right.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _counts(kept: int, of: int) -> tuple[str, str, str]:
    return str(kept), str(of), f"{1.0 - kept / of:.4f}"
