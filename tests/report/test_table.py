"""Tables and numbers as a reader sees them."""

from __future__ import annotations

import numpy as np
import pytest

from sparseagent.report import format_interval, format_ns, format_number, markdown_table


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (1234567, 3, "1,234,567"),
        (np.int64(-4480), 3, "-4,480"),
        (0.0, 3, "0"),
        (-0.0, 3, "0"),
        (0.95, 3, "0.95"),
        (0.9512, 3, "0.951"),
        (500.0, 3, "500"),
        (251.34, 3, "251"),
        (251.34, 4, "251.3"),
        (12345.6, 3, "12,346"),
        (-79.94, 3, "-79.9"),
        (9.996, 3, "10"),
        (99.96, 3, "100"),
        (0.000123, 3, "0.000123"),
        (1.2345e-7, 3, "1.23e-07"),
        (4.5e13, 3, "4.50e+13"),
        (np.float32(0.5), 3, "0.5"),
        (float("nan"), 3, "nan"),
        (float("-inf"), 3, "-inf"),
        (100.0, 1, "100"),
    ],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (57.25, "57.2 ns"),
        (850, "850 ns"),
        (999.6, "1 µs"),
        (1234, "1.23 µs"),
        (93_000, "93 µs"),
        (4_500_000, "4.5 ms"),
        (2e9, "2 s"),
        (125e9, "125 s"),
    ],
)
def test_durations(nanoseconds: float, text: str) -> None:
    assert format_ns(nanoseconds) == text


def test_interval() -> None:
    assert format_interval((240.25, 259.0)) == "240 to 259"
    assert format_interval((-0.5, 0.25), digits=2) == "-0.5 to 0.25"


def test_table_is_aligned() -> None:
    table = markdown_table(
        ["agent", "return", "weights", "note"],
        [["dense", 266.71, 4864, "a|b"], ["pruned", 240.2, 486, None], ["tiny", None, 91, "c\nd"]],
    )
    assert table == (
        "| agent  | return | weights | note   |\n"
        "| ------ | -----: | ------: | ------ |\n"
        "| dense  |    267 |   4,864 | a\\|b   |\n"
        "| pruned |    240 |     486 | -      |\n"
        "| tiny   |      - |      91 | c<br>d |\n"
    )


def test_alignment_and_digits_can_be_chosen() -> None:
    table = markdown_table(["a", "b"], [[1.23456, True]], align=["left", "right"], digits=5)
    assert table == "| a      |   b |\n| ------ | --: |\n| 1.2346 | yes |\n"


def test_table_without_rows() -> None:
    assert markdown_table(["name"], []) == "| name |\n| ---- |\n"


def test_bad_tables() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        markdown_table([], [])
    with pytest.raises(ValueError, match=r"rows\[1\] must have 2 cells, got 1"):
        markdown_table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="align must name"):
        markdown_table(["a", "b"], [], align=["left"])
    with pytest.raises(ValueError, match="align must name"):
        markdown_table(["a"], [], align=["centre"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="digits must be at least 1"):
        format_number(1.5, 0)
