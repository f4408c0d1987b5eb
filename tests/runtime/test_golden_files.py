"""Files that earlier versions of this package wrote: they load for ever, with the same bits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from networks import ISAS, formats_of, same_bits

import sparseagent as sa
from sparseagent.distributions import HEADS
from sparseagent.ops import OPS
from sparseagent.ops.activation import ACTIVATIONS
from sparseagent.reference import by_name, forward_exact

FILES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_loads_runs_and_is_written_again_as_it_was(path: Path) -> None:
    policy = sa.load(path)
    golden = policy.golden
    assert golden is not None
    given = by_name(policy.program, golden.observations)
    for isa in ISAS:
        for format in formats_of(isa, policy):
            act = sa.compile(policy, isa=isa, format=format, tune=0)
            actions, _ = act.predict(golden.observations)
            assert np.array_equal(actions, golden.actions)
            outputs, _ = act.step(golden.observations)
            assert list(outputs) == list(policy.program.outputs)
            assert same_bits(next(iter(outputs.values())), golden.outputs)
            if policy.program.states:  # act(observations) would forget them
                continue
            assert same_bits(act(given), golden.outputs)
            for row in range(len(golden.outputs)):
                one = {name: rows[row] for name, rows in given.items()}
                assert same_bits(act(one), golden.outputs[row])
    assert policy.to_bytes() == path.read_bytes()


def test_there_are_files_of_every_version() -> None:
    assert {path.stem.partition("_")[0] for path in FILES} == {"v1", "v2"}


def test_the_files_of_version_2_hold_every_op_rule_and_activation() -> None:
    policies = [sa.load(path) for path in FILES if path.stem.startswith("v2")]
    ops = [op for policy in policies for op in policy.program.ops]
    assert {op.kind for op in ops} == set(OPS)
    for kind in ("map", "linear"):
        found = {op.attributes()["activation"] for op in ops if op.kind == kind}
        assert found == set(ACTIVATIONS)
    rules = {(op.kind, op.attributes()["rule"]) for op in ops if "rule" in op.attributes()}
    assert {kind for kind, _ in rules} == {"norm", "combine", "reduce", "cell"}
    assert len(rules) == 11
    assert max(len(policy.inputs) for policy in policies) > 1
    assert {policy.head.kind for policy in policies} == set(HEADS)


def test_a_seed_gives_the_samples_that_it_always_gave() -> None:
    digest = hashlib.sha256()
    for path in FILES:
        policy = sa.load(path)
        if policy.head.samples and policy.golden is not None:
            sample = sa.compile(policy, tune=0).sample(policy.golden.observations, seed=1, step=2)
            for part in (sample.action, sample.log_prob, sample.raw_action):
                digest.update(part.tobytes())
    assert digest.hexdigest()[:16] == "795041831842d115"


def test_a_policy_gives_the_outputs_that_its_golden_says() -> None:
    """So that nothing of the above depends on the self-test of `load` alone."""
    policy = sa.load(next(path for path in FILES if path.stem == "v2_inputs"))
    assert policy.golden is not None
    outputs = forward_exact(policy.program, policy.golden.observations)
    assert same_bits(outputs, policy.golden.outputs)
