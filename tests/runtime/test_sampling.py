"""Sampling: the bits of the contract on every ISA, batch, thread count and split."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sampling_contract
from networks import ISAS, random_policy
from sampled import observations, policies

import sparseagent as sa
from sparseagent.csr import Float32

POLICIES = policies()
BATCH = 70
ROWS = np.random.default_rng(5).permutation(1000)[:BATCH]
MASKED = ("categorical", "multi_categorical")


def outputs_of(policy: sa.SparsePolicy, rows: Float32) -> dict[str, Float32]:
    return sa.compile(policy, isa="scalar", tune=0).outputs(rows)


def same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_every_isa_gives_the_bits_of_the_contract(name: str, deterministic: bool) -> None:
    policy = POLICIES[name]
    x = observations(1, BATCH)
    outputs = outputs_of(policy, x)
    masks = None
    if name in MASKED:
        masks = np.random.default_rng(2).random((BATCH, 5)) < 0.6
    for seed, step in ((0, 0), (2**64 - 1, 2**64 - 1), (123456789, 7)):
        action, log_prob, raw = sampling_contract.sample(
            policy.head, outputs, seed, step, ROWS, deterministic=deterministic, masks=masks
        )
        where = {"action_masks": masks, "seed": seed, "step": step, "rows": ROWS}
        for isa in ISAS:
            act = sa.compile(policy, isa=isa, tune=0)
            got = act.sample(x, deterministic=deterministic, **where)
            assert same(got.action, action.astype(got.action.dtype)), isa
            assert same(got.log_prob, log_prob), isa
            assert same(got.raw_action, raw.astype(got.raw_action.dtype)), isa
            assert got.value is not None
            assert same(got.value, outputs["value"][:, 0])
            predicted, state = act.predict(x, "state", deterministic=deterministic, **where)
            assert same(predicted, got.action)
            assert state == "state"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", POLICIES)
def test_the_place_in_the_batch_changes_nothing(name: str, isa: str) -> None:
    x = observations(3, BATCH)
    plans = [sa.compile(POLICIES[name], isa=isa, threads=n, tune=0) for n in (1, 3)]
    whole = plans[0].sample(x, seed=1, step=2)
    for act in plans:
        for batch in (1, 2, 3, 4, 5, 8, 15, 16, 17, 33, BATCH):
            for first in range(0, BATCH - batch + 1, max(7, batch)):
                rows = np.arange(first, first + batch)
                part = act.sample(x[rows], seed=1, step=2, rows=rows)
                for of_part, of_whole in zip(part[:4], whole[:4], strict=True):
                    assert same(of_part, of_whole[rows])
        shuffled = np.random.default_rng(4).permutation(BATCH)
        part = act.sample(x[shuffled], seed=1, step=2, rows=shuffled)
        for of_part, of_whole in zip(part[:4], whole[:4], strict=True):
            assert same(of_part, of_whole[shuffled])
        one = act.sample(x[9], seed=1, step=2, rows=9)
        for of_one, of_whole in zip(one[:4], whole[:4], strict=True):
            assert same(of_one, of_whole[9])


def test_wide_heads_and_long_latents() -> None:
    """Several blocks of words and vectors of numbers, the last ones not full."""
    for size, latent in ((5, 1), (16, 16), (17, 40), (67, 33)):
        wide = policies(1, size=size, latent=latent, inputs=3)
        for name in ("categorical", "multi_categorical", "bernoulli", "gaussian_output", "gsde"):
            head = wide[name].head
            if isinstance(head, sa.GSDE):
                head = sa.GSDE(head.std, head.resample, squash=True)
            policy = sa.SparsePolicy(wide[name].program, head)
            x = observations(size, 19, 3)
            action, log_prob, _ = sampling_contract.sample(
                head, outputs_of(policy, x), 9, 4, np.arange(19)
            )
            for isa in ISAS:
                act = sa.compile(policy, isa=isa, tune=0)
                got = act.sample(x, seed=9, step=4)
                assert same(got.action, action.astype(got.action.dtype)), (name, isa)
                assert same(got.log_prob, log_prob), (name, isa)
                for row in (0, 18):
                    one = act.sample(x[row], seed=9, step=4, rows=row)
                    assert same(one.action, got.action[row])
                    assert same(one.log_prob, got.log_prob[row])


def test_many_rows_are_held_a_part_at_a_time() -> None:
    for name in ("categorical", "gaussian_output", "gsde"):
        act = sa.compile(POLICIES[name], tune=0)
        x = observations(6, 10_000)
        whole = act.sample(x, seed=3, step=1)
        for first in (0, 4090, 8185, 9990):
            rows = np.arange(first, first + 10)
            for of_part, of_whole in zip(
                act.sample(x[rows], seed=3, step=1, rows=rows)[:4], whole[:4], strict=True
            ):
                assert same(of_part, of_whole[rows])


def test_no_rows() -> None:
    for policy in POLICIES.values():
        act = sa.compile(policy, tune=0)
        got = act.sample(np.empty((0, 6), np.float32), seed=0, step=0)
        assert got.action.shape == (0, *policy.action_shape)
        assert got.log_prob.shape == (0,)


@pytest.mark.parametrize("name", POLICIES)
def test_odd_numbers_are_the_same_everywhere(name: str) -> None:
    x = observations(7, 40)
    x[3, 2], x[5, 1], x[6, 0], x[30] = np.nan, np.inf, -np.inf, 1e30
    results = [
        sa.compile(POLICIES[name], isa=isa, tune=0).sample(x, seed=1, step=1) for isa in ISAS
    ]
    for isa, got in zip(ISAS, results, strict=True):
        act = sa.compile(POLICIES[name], isa=isa, tune=0)
        for a, b in zip(got, results[0], strict=True):
            assert same(a, b), isa
        for row in (3, 5, 6, 30):
            one = act.sample(x[row], seed=1, step=1, rows=row)
            for a, b in zip(one[:4], got[:4], strict=True):
                assert same(a, b[row]), (isa, row)
    if "gaussian" in name or "gsde" in name:
        assert np.isnan(results[0].raw_action[3]).all()


def test_masks() -> None:
    for name in MASKED:
        act = sa.compile(POLICIES[name], tune=0)
        x = observations(8, 400)
        masks = np.zeros((400, 5), bool)
        masks[:, [0, 1, 4]] = True  # one of each choice of (1, 3, 1)
        for given in (masks, masks.astype(np.int8), list(masks), masks.reshape(400, 5, 1)):
            for deterministic in (False, True):
                where = {} if deterministic else {"seed": 1, "step": 1}
                actions, _ = act.predict(x, None, None, deterministic, given, **where)
                if name == "categorical":
                    assert set(np.unique(actions + 2)) <= {0, 1, 4}
                else:
                    assert (actions == (0, 5, -1)).all()
    act = sa.compile(POLICIES["categorical"], tune=0)
    nothing = np.zeros(5, bool)
    got = act.sample(x, seed=1, step=1, action_masks=np.tile(nothing, (400, 1)))
    assert set(np.unique(got.action + 2)) == {0, 1, 2, 3, 4}
    assert np.allclose(got.log_prob, np.log(0.2))
    assert act.predict(x[0], action_masks=nothing)[0] == -2


def test_without_a_seed_no_two_calls_are_alike() -> None:
    act = sa.compile(POLICIES["gaussian"], tune=0)
    x = observations(9, 3)
    drawn = [act.predict(x, deterministic=False)[0].tobytes() for _ in range(20)]
    assert len(set(drawn)) == 20


def test_a_matrix_of_gsde_holds_for_some_steps() -> None:
    act = sa.compile(POLICIES["gsde"], tune=0)
    x = observations(10, 5)
    drawn = [act.sample(x, seed=1, step=step).raw_action.tobytes() for step in range(9)]
    assert [len(set(drawn[first : first + 4])) for first in (0, 4)] == [1, 1]
    assert len(set(drawn)) == 3
    act = sa.compile(POLICIES["gsde_squash"], tune=0)
    assert same(
        act.sample(x, seed=1, step=0).action,
        act.sample(x, seed=1, step=2**60).action,
    )


def test_a_sampler_counts_the_steps() -> None:
    act = sa.compile(POLICIES["squashed"], tune=0)
    x = observations(11, 6)
    sampler = sa.Sampler(act, seed=4)
    drawn = [sampler.predict(x)[0], sampler.sample(x).action]
    mode, _ = sampler.predict(x, deterministic=True)
    assert same(mode, act.predict(x)[0])
    assert sampler.step == 2
    assert same(drawn[0], act.predict(x, deterministic=False, seed=4, step=0)[0])
    assert same(drawn[1], act.predict(x, deterministic=False, seed=4, step=1)[0])
    again = pickle.loads(pickle.dumps(sampler))
    assert same(again.predict(x)[0], sampler.predict(x)[0])
    second = sa.Sampler(act, seed=4, rows=[3, 4, 5])
    assert same(second.predict(x[3:])[0], drawn[0][3:])
    third = sa.Sampler(act, seed=4, step=1, rows=2)
    assert same(third.predict(x[2])[0], drawn[1][2])


def test_update_takes_what_training_changes_of_a_head() -> None:
    other = policies(7)
    x = observations(16, 40)
    for name in ("gaussian_clip", "gsde", "epsilon_greedy", "gaussian_output", "bernoulli"):
        policy, changed = POLICIES[name], POLICIES[name].head
        if isinstance(changed, sa.DiagGaussian) and changed.log_std is not None:
            changed = replace(changed, log_std=changed.log_std + np.float32(0.5))
        elif isinstance(changed, sa.GSDE):
            changed = replace(changed, std=changed.std * np.float32(0.5))
        elif isinstance(changed, sa.EpsilonGreedy):
            changed = replace(changed, epsilon=0.9)
        after = replace(policy, head=changed)
        for isa in ISAS:
            act = sa.compile(policy, isa=isa, tune=0)
            act.update(after)
            wanted = sa.compile(after, isa=isa, tune=0).sample(x, seed=1, step=1)
            for a, b in zip(act.sample(x, seed=1, step=1), wanted, strict=True):
                assert same(a, b), (name, isa)
            for unlike in (other["gsde_squash"].head, sa.DiagGaussian(np.zeros(5, np.float32))):
                with pytest.raises(ValueError, match="expected the observation step and head"):
                    act.update(replace(policy, head=unlike))
            with pytest.raises(ValueError, match=r"policy: expected a head with .* numbers"):
                act._update([layer.core_argument() for layer in policy.layers], np.ones(4, "f"))


def test_threads_share_a_plan() -> None:
    act = sa.compile(POLICIES["gsde"], tune=0)
    x = observations(12, 40)
    wanted = [act.sample(x, seed=1, step=step) for step in range(16)]
    failures: list[int] = []

    def work(first: int) -> None:
        for step in [*range(first, 16), *range(first)] * 20:
            got = act.sample(x, seed=1, step=step)
            if not all(same(a, b) for a, b in zip(got, wanted[step], strict=True)):
                failures.append(step)

    threads = [threading.Thread(target=work, args=(4 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_value_of_several_features_and_none() -> None:
    policy = POLICIES["categorical"]
    outputs = {**policy.program.outputs}
    outputs["value"] = outputs.pop("latent")
    several = sa.SparsePolicy(
        sa.Program(policy.program.slots, policy.program.ops, outputs), policy.head
    )
    x = observations(13, 4)
    act = sa.compile(several, tune=0)
    value = act.sample(x).value
    assert value is not None
    assert same(value, act.outputs(x)["value"])
    plain = random_policy(np.random.default_rng(0), (6, 8, 3), 0.5, head=sa.Categorical())
    assert sa.compile(plain, tune=0).sample(x).value is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": 1}, ValueError, "seed, step: expected both"),
        ({"step": 1}, ValueError, "seed, step: expected both"),
        ({"seed": -1, "step": 0}, ValueError, "seed: expected an int from 0"),
        ({"seed": 1 << 64, "step": 0}, ValueError, "seed: expected an int from 0"),
        ({"seed": 0, "step": 1.5}, TypeError, "step: expected an int from 0 .* got float"),
        ({"rows": [0, 1]}, ValueError, r"rows: expected \[3\], got int64 \[2\]"),
        ({"rows": [0, 1, -1]}, ValueError, "rows: expected numbers from 0"),
        ({"rows": [0, 1, 1 << 32]}, ValueError, "rows: expected numbers from 0"),
        ({"rows": [0.0, 1.0, 2.0]}, TypeError, "rows: expected whole numbers"),
        ({"rows": "abc"}, TypeError, "rows: expected whole numbers"),
        ({"action_masks": [True] * 4}, ValueError, r"action_masks: expected \[3, 5\], got bool"),
        ({"action_masks": "abc"}, TypeError, "action_masks: expected booleans, got str"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    act = sa.compile(POLICIES["categorical"], tune=0)
    x = observations(14, 3)
    with pytest.raises(error, match=message):
        act.predict(x, deterministic=False, **arguments)
    with pytest.raises(error, match=message):
        act.sample(x, **arguments)


def test_how_predict_is_called() -> None:
    act = sa.compile(POLICIES["categorical"], tune=0)
    x = observations(17, 3)
    wanted = act.predict(x, None, None, False, None, seed=1, step=2, rows=[0, 1, 2])[0]
    names = {"".join(list(name)): None for name in ("state", "episode_start")}  # not interned
    got, _ = act.predict(rows=range(3), step=2, seed=1, deterministic=0, observation=x, **names)
    assert same(got, wanted)
    for call, message in (
        (act.predict, "expected an observation"),
        (lambda: act.predict(x, observation=x), "got observation twice"),
        (lambda: act.predict(x, foo=1), "unexpected argument 'foo'"),
        (lambda: act.predict(x, None, None, True, None, 1), "at most 5 arguments by position"),
        (lambda: sa.Plan.predict(None, x), "predict"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match="truth value"):
        act.predict(x, deterministic=x)


def test_heads_that_do_not_sample_and_take_no_masks() -> None:
    x = observations(15, 3)
    plain = sa.compile(random_policy(np.random.default_rng(0), (6, 8, 3), 0.5), tune=0)
    for call in (
        lambda: plain.predict(x, deterministic=False),
        lambda: plain.sample(x),
        lambda: plain.sample(x, deterministic=True),
    ):
        with pytest.raises(ValueError, match=r"expected True, got False: .* holds no distribution"):
            call()
    with pytest.raises(ValueError, match="plan: expected a head that samples, got raw"):
        sa.Sampler(plain)
    with pytest.raises(ValueError, match="seed: expected 0 to"):
        sa.Sampler(sa.compile(POLICIES["gsde"], tune=0), seed=-1)
    gaussian = sa.compile(POLICIES["gaussian"], tune=0)
    with pytest.raises(ValueError, match="action_masks: expected none for the head diag_gaussian"):
        gaussian.predict(x, action_masks=np.ones((3, 5), bool))
