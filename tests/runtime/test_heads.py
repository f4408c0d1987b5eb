"""Heads that sample: what they are made of, their form in files, their deterministic action."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from forged import Change, forged
from networks import ISAS, random_policy, same_bits
from sampled import FINITE, observations, policies

import sparseagent as sa
from sparseagent import _core
from sparseagent.distributions import HEADS
from sparseagent.head import Head
from sparseagent.policyfile import PolicyFileError
from sparseagent.reference import forward_exact

POLICIES = policies()


def test_every_kind_has_a_class_and_both_languages_know_it() -> None:
    assert tuple(HEADS) == _core.HEADS
    assert {policy.head.kind for policy in POLICIES.values()} == {
        kind for kind, head in HEADS.items() if head.samples
    }


@pytest.mark.parametrize("name", POLICIES)
def test_files_hold_it(name: str) -> None:
    policy = POLICIES[name].with_golden(observations(1, 4))
    data = policy.to_bytes()
    again = sa.load(data)
    assert again.head == policy.head
    assert again.to_bytes() == data
    for other in (copy.deepcopy(policy.head), pickle.loads(pickle.dumps(policy.head))):
        assert other == policy.head
    assert all(again.head != other.head for key, other in POLICIES.items() if key != name)


def test_the_lowest_version_is_written() -> None:
    """A chain needs version 2 for the sake of its head."""
    rng = np.random.default_rng(0)
    for head, version in ((sa.Argmax(), b"1"), (sa.Categorical(), b"2")):
        policy = random_policy(rng, (4, 8, 3), 0.5, head=head)
        assert b'"format_version":"' + version + b'"' in policy.to_bytes()
        assert sa.load(policy.to_bytes()).head == head


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", POLICIES)
def test_the_deterministic_action(name: str, isa: str) -> None:
    policy = POLICIES[name]
    act = sa.compile(policy, isa=isa, tune=0)
    rows = observations(2, 40)
    wanted = policy.head.apply(forward_exact(policy.program, rows))
    actions, _ = act.predict(rows)
    assert actions.dtype == wanted.dtype == policy.head.action_of(5)[0]
    assert actions.shape == wanted.shape == (40, *policy.action_shape)
    assert actions.tobytes() == wanted.tobytes()
    one, _ = act.predict(rows[7])
    assert one.tobytes() == wanted[7].tobytes()


def test_it_is_that_of_the_heads_that_do_not_sample() -> None:
    outputs = np.random.default_rng(3).normal(size=(50, 5)).astype(np.float32)
    assert same_bits(sa.Categorical(3).apply(outputs), sa.Argmax().apply(outputs) + 3)
    assert same_bits(sa.EpsilonGreedy(0.5).apply(outputs), sa.Argmax().apply(outputs))
    unscale = sa.unscale_to(*FINITE)
    squashed = _core.activate("tanh", outputs)
    assert np.abs(squashed - np.tanh(outputs.astype(np.float64))).max() < 1e-6
    head = sa.DiagGaussian(bounds=unscale, squash=True)
    assert same_bits(head.apply(outputs), unscale.apply(squashed))


def array(shape: Any, value: float = 0.5) -> Any:
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sa.Categorical(1 << 40), "start: expected"),
        (lambda: sa.MultiCategorical(()), "sizes: expected one or more"),
        (lambda: sa.MultiCategorical((2, 0)), "sizes: expected one or more"),
        (lambda: sa.MultiCategorical((2, 3), (1,)), "starts: expected 2 numbers, got 1"),
        (lambda: sa.EpsilonGreedy(1.5), "epsilon: expected 0, or 1e-30 to 1"),
        (lambda: sa.EpsilonGreedy(float("nan")), "epsilon: expected"),
        (lambda: sa.DiagGaussian(array(3, np.inf)), "log_std: expected finite"),
        (lambda: sa.DiagGaussian(None, (2, 1)), "log_std_range: expected low <= high"),
        (lambda: sa.DiagGaussian(array(3), eps=0), "eps: expected"),
        (lambda: sa.GSDE(array((2, 3), -1)), "std: expected numbers from 0"),
        (lambda: sa.GSDE(array((2, 3), 1e30)), "std: expected numbers from 0"),
        (lambda: sa.GSDE(array((2, 3)), -1), "resample: expected"),
    ],
)
def test_what_no_head_is_made_of(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_bounds_are_a_head_without_a_distribution() -> None:
    with pytest.raises(TypeError, match="bounds: expected a Raw, Clip or Unscale head"):
        sa.DiagGaussian(array(3), bounds=sa.Argmax())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (sa.MultiCategorical((2, 2)), "sizes: expected 3 together, got 4"),
        (sa.DiagGaussian(array(2)), "log_std: expected 3 numbers, got 2"),
        (sa.DiagGaussian(), "expected an output 'log_std' of 3 features behind the first"),
        (sa.GSDE(array((4, 2))), r"std: expected \[latent, 3\]"),
        (sa.GSDE(array((4, 3))), "expected an output 'latent' of 4 features behind the first"),
        (sa.DiagGaussian(array(3), bounds=sa.clip_to([0], [1])), "bounds for 3 outputs, got 1"),
    ],
)
def test_a_head_that_does_not_fit_the_program(head: Head, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_policy(np.random.default_rng(0), (4, 8, 3), 0.5, head=head)


def spec(**change: Any) -> Change:
    return lambda given, _: given["head"].update(change)


def tensor(name: str, value: Any) -> Change:
    return lambda _, tensors: tensors.update({name: np.asarray(value)})


def no(name: str) -> Change:
    return lambda _, tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("categorical", spec(kind="beta"), "unknown kind 'beta'"),
        ("categorical", spec(kind=3), "kind: expected a string"),
        ("categorical", spec(start=1.5), "start: expected a whole number"),
        ("categorical", spec(start=1 << 40), "start: expected"),
        ("categorical", lambda given, _: given["head"].pop("start"), "start"),
        ("multi_categorical", spec(sizes=[1, 3, 2]), "sizes: expected 5 together"),
        ("multi_categorical", spec(sizes=[5, 0, 0]), "sizes"),
        ("multi_categorical", spec(sizes=[], starts=[]), "sizes"),
        ("multi_categorical", spec(sizes=[6, -2, 1]), "sizes"),
        ("multi_categorical", spec(sizes={"a": 1}), "sizes: expected a list"),
        ("multi_categorical", spec(sizes=[1 << 62, 5, 1]), "sizes"),
        ("multi_categorical", spec(starts=[]), "starts: expected 3 numbers, got 0"),
        ("multi_categorical", spec(starts=[0, 0, 1 << 33]), "start"),
        ("epsilon_greedy", spec(epsilon=-0.1), "epsilon: expected 0, or 1e-30 to 1"),
        ("epsilon_greedy", spec(epsilon="0.1"), "epsilon: expected a number"),
        ("epsilon_greedy", spec(epsilon=1e-40), "epsilon: expected 0, or 1e-30 to 1"),
        ("gaussian", tensor("head.log_std", array(4)), "log_std"),
        ("gaussian", tensor("head.log_std", np.zeros(5)), "head.log_std|log_std: expected"),
        ("gaussian", tensor("head.log_std", array(5, np.nan)), "log_std: expected finite"),
        ("gaussian_clip", spec(bounds="argmax"), "bounds: expected one of raw, clip, unscale"),
        ("gaussian_clip", spec(squash=1), "squash: expected true or false"),
        ("gaussian_clip", spec(eps=0.0), "eps: expected 1e-30 to 1"),
        ("gaussian_clip", spec(eps=1e39), "eps: expected"),
        ("gaussian_clip", no("head.low"), "low"),
        ("gaussian_clip", tensor("head.low", array(4)), "low|head.high: expected"),
        ("gaussian_clip", tensor("head.low", array(5, np.nan)), "low"),
        ("gaussian_output", spec(log_std_range=[1.0, 0.0]), "log_std_range: expected low <= high"),
        ("gaussian_output", spec(log_std_range=[1.0]), "log_std_range: expected two numbers"),
        ("gaussian_output", spec(log_std_range="ab"), "log_std_range"),
        ("gaussian_output", lambda given, _: given["outputs"].pop("log_std"), "output 'log_std'"),
        ("squashed", tensor("head.high", array(5, np.inf)), "finite bounds"),
        ("gsde", no("head.std"), "std"),
        ("gsde", tensor("head.std", array(35)), "std: expected"),
        ("gsde", tensor("head.std", array((5, 7))), "std: expected|std"),
        ("gsde", tensor("head.std", array((7, 5), -0.5)), "std: expected numbers from 0"),
        ("gsde", tensor("head.std", array((7, 5), np.nan)), "std: expected"),
        ("gsde", tensor("head.std", array((0, 5))), "std: expected"),
        ("gsde", spec(resample=-1), "resample: expected"),
        ("gsde", spec(resample=2.0), "resample: expected a whole number"),
        ("gsde", lambda given, _: given["outputs"].update(latent="s0"), "output 'latent'"),
    ],
)
def test_hostile_heads_are_refused_by_both_readers(name: str, change: Change, message: str) -> None:
    data = forged(POLICIES[name].to_bytes(), change)
    with pytest.raises(PolicyFileError, match=message):
        sa.load(data)
    with pytest.raises(ValueError, match=message):
        _core.Plan(data, "", "", 1, 0.0, [], [])
