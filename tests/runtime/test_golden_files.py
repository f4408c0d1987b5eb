"""Files that earlier versions of this package wrote: they load for ever, with the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import ISAS, formats_of, same_bits

import sparseagent as sa

FILES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_loads_runs_and_is_written_again_as_it_was(path: Path) -> None:
    policy = sa.load(path)
    golden = policy.golden
    assert golden is not None
    for isa in ISAS:
        for format in formats_of(isa, policy):
            act = sa.compile(policy, isa=isa, format=format, tune=0)
            actions, _ = act.predict(golden.observations)
            assert np.array_equal(actions, golden.actions)
            outputs = act(policy.observation.apply(golden.observations))
            if policy.observation.is_identity:
                assert same_bits(outputs, golden.outputs)
    assert policy.to_bytes() == path.read_bytes()


def test_there_are_files_of_every_version() -> None:
    assert {path.stem.partition("_")[0] for path in FILES} >= {"v1"}
