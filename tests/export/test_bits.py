"""An exported policy gives the plan's bits: with any fused multiply-add, on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import same_bits
from samples import NAMES, sample
from targets import AARCH64, CORTEX_M, HOSTED, SEED, STEP, Exported, Target

import sparseagent as sa
from sparseagent.export import c_source

# Emulated machines are slow.
MANY, SOME, FEW = 10_000, 1_000, 40


def check(policy: sa.SparsePolicy, given: Any, target: Target, folder: Path) -> None:
    exported = Exported(policy, c_source(policy, "tried"), folder)
    got = exported.run(target, given)
    plan = sa.compile(policy, tune=0)
    for name, wanted in plan.outputs(given).items():
        assert same_bits(got.outputs[name], wanted), name
    same_action(got.actions, plan.predict(given)[0])
    if got.samples is not None:
        same_action(got.samples, plan.predict(given, deterministic=False, seed=SEED, step=STEP)[0])


def same_action(got: Any, wanted: Any) -> None:
    """What a head makes of Inf is some NaN: the plan leaves its bits to the machine."""
    unknown = np.isnan(wanted)
    assert same_bits(got[~unknown], wanted[~unknown])
    assert np.isnan(got[unknown]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", HOSTED, ids=lambda target: target.name)
def test_the_bits_of_the_plan(name: str, target: Target, tmp_path: Path) -> None:
    if target.missing():
        pytest.skip(str(target.missing()))
    check(*sample(name, SOME if target.name == "integers" else MANY), target, tmp_path)


@pytest.mark.skipif(AARCH64.missing() is not None, reason=str(AARCH64.missing()))
@pytest.mark.parametrize("name", NAMES)
def test_the_bits_of_the_plan_on_arm(name: str, tmp_path: Path) -> None:
    check(*sample(name, SOME), AARCH64, tmp_path)


@pytest.mark.parametrize("target", CORTEX_M, ids=lambda target: target.name)
@pytest.mark.parametrize("name", NAMES)
def test_the_bits_of_the_plan_on_microcontrollers(
    name: str, target: Target, tmp_path: Path
) -> None:
    if target.missing():
        pytest.skip(str(target.missing()))
    check(*sample(name, FEW), target, tmp_path)
