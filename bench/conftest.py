"""Benchmarks run where they are asked for by path; elsewhere pytest skips them."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """`pytest bench` means to run them: undo the project-wide `--benchmark-skip`."""
    config.option.benchmark_skip = False
