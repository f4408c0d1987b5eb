"""What is sampled follows its distribution, and log-probabilities are those of the libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sampled import observations, policies
from scipy import special, stats
from stable_baselines3.common import distributions as sb3
from torch.distributions import Bernoulli, Categorical, Normal

import sparseagent as sa

POLICIES = policies(3)
DRAWS = 40_000
X = observations(21, 1)


def drawn(name: str, seed: int = 11) -> tuple[sa.Sample, dict[str, Any]]:
    """`DRAWS` environments with one observation; and its outputs, `[1, size]`."""
    act = sa.compile(POLICIES[name], tune=0)
    return act.sample(np.repeat(X, DRAWS, axis=0), seed=seed, step=5), act.outputs(X)


def close(a: Any, b: Any, tolerance: float = 2e-5) -> bool:
    """Relative to the size of the numbers, at least 1."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return bool((np.abs(a - b) <= tolerance * np.maximum(1, np.abs(b))).all())


def chi_square(counts: Any, probabilities: Any) -> float:
    keep = probabilities * counts.sum() > 1e-3
    assert not counts[~keep].any()
    return float(stats.chisquare(counts[keep], probabilities[keep] * counts.sum()).pvalue)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_choices(seed: int) -> None:
    for name in ("categorical", "multi_categorical"):
        head = POLICIES[name].head
        got, outputs = drawn(name, seed)
        logits = outputs["action"][0].astype(np.float64)
        sizes = getattr(head, "sizes", (5,))
        starts = getattr(head, "starts", (-2,))
        actions = got.action.reshape(DRAWS, -1) - np.array(starts)
        total = np.zeros(DRAWS)
        for choice, group in enumerate(np.split(logits, np.cumsum(sizes)[:-1])):
            p = special.softmax(group)
            counts = np.bincount(actions[:, choice], minlength=len(p))
            assert len(p) == 1 or chi_square(counts, p) > 1e-3
            reference = Categorical(logits=torch.tensor(group, dtype=torch.float32))
            total += reference.log_prob(torch.tensor(actions[:, choice])).numpy()
        assert close(got.log_prob, total, 2e-6)
        mode = sa.compile(POLICIES[name], tune=0).sample(X, deterministic=True)
        assert (mode.action == head.apply(outputs["action"])).all()


def test_masked_choices() -> None:
    act = sa.compile(POLICIES["categorical"], tune=0)
    mask = np.array([True, False, True, True, False])
    got = act.sample(
        np.repeat(X, DRAWS, axis=0), seed=1, step=2, action_masks=np.tile(mask, (DRAWS, 1))
    )
    logits = np.where(mask, act.outputs(X)["action"][0], np.float32(-1e8))
    assert chi_square(np.bincount(got.action + 2, minlength=5), special.softmax(logits)) > 1e-3
    reference = Categorical(logits=torch.tensor(logits))
    assert close(got.log_prob, reference.log_prob(torch.tensor(got.action + 2)), 2e-6)


def test_bits() -> None:
    got, outputs = drawn("bernoulli")
    logits = torch.tensor(outputs["action"])
    for bit in range(5):
        counts = np.bincount(got.action[:, bit], minlength=2)
        p = special.expit(float(logits[0, bit]))
        assert chi_square(counts, np.array([1 - p, p])) > 1e-3
    reference = Bernoulli(logits=logits).log_prob(torch.tensor(got.action, dtype=torch.float32))
    assert close(got.log_prob, reference.sum(1))
    theirs = sb3.BernoulliDistribution(5).proba_distribution(logits)
    assert close(got.log_prob, theirs.log_prob(torch.tensor(got.action, dtype=torch.float32)))


def test_epsilon_greedy() -> None:
    got, outputs = drawn("epsilon_greedy")
    p = np.full(5, 0.3 / 5)
    p[outputs["action"].argmax()] += 0.7
    assert chi_square(np.bincount(got.action - 1, minlength=5), p) > 1e-3
    assert close(got.log_prob, np.log(p[got.action - 1]))
    for epsilon in (0.0, 1.0):
        policy = sa.SparsePolicy(POLICIES["epsilon_greedy"].program, sa.EpsilonGreedy(epsilon))
        all_of_it = sa.compile(policy, tune=0).sample(np.repeat(X, 500, axis=0), seed=1, step=1)
        assert len(np.unique(all_of_it.action)) == (1 if epsilon == 0 else 5)
        assert close(all_of_it.log_prob, 0.0 if epsilon == 0 else np.log(0.2))


def parameters(name: str, outputs: dict[str, Any]) -> tuple[Any, Any]:
    """Mean and standard deviation, float64 `[5]`."""
    head, mean = POLICIES[name].head, outputs["action"][0].astype(np.float64)
    if isinstance(head, sa.GSDE):
        latent = outputs["latent"][0].astype(np.float64)
        return mean, np.sqrt(latent**2 @ head.std.astype(np.float64) ** 2 + head.eps)
    assert isinstance(head, sa.DiagGaussian)
    log_std = outputs["log_std"][0] if head.log_std is None else head.log_std
    low, high = head.log_std_range or (-87, 88)
    return mean, np.exp(np.clip(log_std.astype(np.float64), low, high))


@pytest.mark.parametrize("name", ["gaussian", "gaussian_output", "squashed", "gsde", "gsde_squash"])
def test_normal_distributions(name: str) -> None:
    got, outputs = drawn(name)
    mean, std = parameters(name, outputs)
    raw, squash = got.raw_action.astype(np.float64), "squash" in name
    # A tanh close to 1 has lost where it came from: what is left is a truncated distribution.
    edge = np.arctanh(0.999) if squash else np.inf
    if squash:
        raw = np.arctanh(np.clip(raw, -1 + 1e-9, 1 - 1e-9))
    for number in range(5):
        z = (raw[:, number] - mean[number]) / std[number]
        low, high = special.ndtr((np.array([-edge, edge]) - mean[number]) / std[number])
        inside = np.abs(raw[:, number]) < edge
        assert stats.binomtest(int(inside.sum()), DRAWS, high - low).pvalue > 1e-3
        p = (special.ndtr(z[inside]) - low) / (high - low)
        assert stats.kstest(p, "uniform").pvalue > 1e-3
        counts = np.bincount(np.minimum((p * 50).astype(int), 49), minlength=50)
        assert chi_square(counts, np.full(50, 0.02)) > 1e-3
    if not squash:
        correlations = np.corrcoef(((raw - mean) / std).T) - np.eye(5)
        assert name == "gsde" or np.abs(correlations).max() < 4.5 / np.sqrt(DRAWS)
    wanted = stats.norm.logpdf(raw, mean, std).sum(axis=1)
    known = np.full(DRAWS, True)
    if squash:
        wanted -= np.log(1 - got.raw_action.astype(np.float64) ** 2 + 1e-6).sum(axis=1)
        known = (np.abs(got.raw_action) < 0.99).all(axis=1)
    assert known.sum() > 1000
    assert close(got.log_prob[known], wanted[known], 2e-4 if squash else 2e-5)


def test_log_probabilities_of_sb3() -> None:
    """Its own classes on the same parameters and actions."""
    got, outputs = drawn("gaussian_output")
    mean = torch.tensor(outputs["action"])
    log_std = torch.tensor(np.clip(outputs["log_std"], -0.5, 0.25))
    diag = sb3.DiagGaussianDistribution(5).proba_distribution(mean, log_std)
    assert close(got.log_prob, diag.log_prob(torch.tensor(got.raw_action)))
    plain = Normal(mean, log_std.exp()).log_prob(torch.tensor(got.raw_action)).sum(1)
    assert close(got.log_prob, plain)

    got, outputs = drawn("squashed")
    known = (np.abs(got.raw_action) < 0.99).all(axis=1)
    mean, log_std = torch.tensor(outputs["action"]), torch.tensor(outputs["log_std"]).clamp(-20, 2)
    squashed = sb3.SquashedDiagGaussianDistribution(5).proba_distribution(mean, log_std)
    assert close(got.log_prob[known], squashed.log_prob(torch.tensor(got.raw_action[known])), 2e-4)

    for name, squash in (("gsde", False), ("gsde_squash", True)):
        head = POLICIES[name].head
        assert isinstance(head, sa.GSDE)
        got, outputs = drawn(name)
        theirs = sb3.StateDependentNoiseDistribution(5, squash_output=squash)
        theirs.proba_distribution_net(5, latent_sde_dim=7)
        log = torch.log(torch.tensor(head.std))
        theirs.proba_distribution(
            torch.tensor(outputs["action"]), log, torch.tensor(outputs["latent"])
        )
        known = (np.abs(got.raw_action) < 0.99).all(axis=1) if squash else np.full(DRAWS, True)
        actions = torch.tensor(got.raw_action[known])
        assert close(got.log_prob[known], theirs.log_prob(actions), 2e-4)


def test_the_mode_has_its_own_log_probability() -> None:
    act = sa.compile(POLICIES["gaussian"], tune=0)
    got = act.sample(X, deterministic=True)
    head = POLICIES["gaussian"].head
    assert isinstance(head, sa.DiagGaussian)
    assert head.log_std is not None
    mean = act.outputs(X)["action"]
    assert (got.raw_action == mean).all()
    normal = Normal(torch.tensor(mean), torch.tensor(head.log_std).exp())
    assert close(got.log_prob, normal.log_prob(torch.tensor(mean)).sum(1))


def test_streams_of_environments_and_steps_are_apart() -> None:
    act = sa.compile(POLICIES["gaussian"], tune=0)
    head = POLICIES["gaussian"].head
    assert isinstance(head, sa.DiagGaussian)
    assert head.log_std is not None
    x = np.repeat(X, 2000, axis=0)
    by_step = np.stack([act.sample(x, seed=7, step=step).raw_action for step in range(20)])
    z = ((by_step - act.outputs(X)["action"]) / np.exp(head.log_std)).astype(np.float64)
    for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[1:, 1:], z[:-1, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / np.sqrt(a.size)
    other = act.sample(x, seed=8, step=0).raw_action.ravel()
    assert abs(np.corrcoef(other, by_step[0].ravel())[0, 1]) < 1  # another seed
    assert (other != by_step[0].ravel()).all()
