import pytest
import torch

from sparseagent.prune import Hybrid
from sparseagent.train import config, configure, strategy
from sparseagent.train.agent import make_envs, make_model
from sparseagent.train.strategy import choose_strategy, make_sparsifier


def test_every_name_of_a_configuration_stands_for_something():
    assert set(strategy._SCORES) == set(config.SCORES)
    assert set(strategy._PATTERNS) == set(config.PATTERNS)
    assert set(strategy._ALLOCATIONS) == set(config.ALLOCATIONS)
    assert set(strategy._SCHEDULES) == set(config.SCHEDULES)
    assert set(strategy._GROWTHS) == set(config.GROWTHS)


def fresh_policy(chosen):
    envs = make_envs(chosen, seed=0)
    envs.close()
    return make_model(chosen, envs, seed=0).policy


@pytest.mark.parametrize("allocation", config.ALLOCATIONS)
@pytest.mark.parametrize("score", config.SCORES)
def test_the_plan_adds_up_to_the_sparsity(allocation, score):
    chosen = configure("CartPole-v1", "ppo", sparsity=0.9, allocation=allocation, score=score)
    plan = choose_strategy(chosen, fresh_policy(chosen))
    weights = [layer.inputs * layer.outputs for layer in plan.layers]
    kept = sum(n * (1 - layer.sparsity) for n, layer in zip(weights, plan.layers, strict=True))
    assert sum(weights) == 4480
    assert kept == pytest.approx(448)
    assert all(layer.part == "actor" for layer in plan.layers)
    assert allocation in plan.how
    assert score in plan.how


def test_the_text_says_which_steps_fine_tune():
    chosen = configure("CartPole-v1", "ppo", total_timesteps=1000, finetune_timesteps=500)
    plan = choose_strategy(chosen, fresh_policy(chosen))
    assert "from step 200 to 800 of 1,000" in plan.how
    assert "the last 700 steps, of them 500 extra ones" in plan.how


@pytest.mark.parametrize(
    ("algo", "critic", "parts"),
    [
        ("ppo", "auto", {"actor": 0.9}),
        ("ppo", 0.5, {"actor": 0.9, "critic": 0.5}),
        ("sac", "auto", {"actor": 0.9, "critic": 0.8}),
        ("sac", 0.0, {"actor": 0.9}),
    ],
)
def test_the_critic_is_pruned_as_asked(algo, critic, parts):
    chosen = configure(
        "Pendulum-v1", algo, sparsity=0.9, critic_sparsity=critic, net_arch=(16, 16), n_envs=1
    )
    assert make_sparsifier(chosen, fresh_policy(chosen), seed=0).final_sparsity == parts


def test_growth_starts_from_random_masks_and_ends_where_pruning_stops():
    chosen = configure(
        "CartPole-v1", "ppo", grow="random", schedule="early", prune_start=0.0, prune_stop=0.6
    )
    assert (
        "random (pruned weights come back at random"
        in choose_strategy(chosen, fresh_policy(chosen)).how
    )
    sparsifiers = [make_sparsifier(chosen, fresh_policy(chosen), seed) for seed in (0, 0, 1)]
    for sparsifier in sparsifiers:
        sparsifier.step(0.0)
    first, again, other = (sparsifier.masks["action_net.weight"] for sparsifier in sparsifiers)
    assert first.equal(again)
    assert not first.equal(other)
    sparsifiers[0].step(0.3)
    changed = sparsifiers[0].masks["action_net.weight"]
    assert not changed.equal(first)
    sparsifiers[0].step(0.6)
    assert sparsifiers[0].masks["action_net.weight"].equal(changed)


def test_the_options_of_pruning_reach_the_sparsifier():
    chosen = configure(
        "CartPole-v1", "ppo", schedule="early", prune_start=0.0, output_floor=1.0, sparsity=0.9
    )
    policy = fresh_policy(chosen)
    norm = policy.mlp_extractor.policy_net[2].weight.norm().item()
    sparsifier = make_sparsifier(chosen, policy, seed=0)
    sparsifier.step(0.0)
    assert sparsifier.sparsity("action_net.weight") == 0.0
    assert sparsifier.sparsity() == pytest.approx(0.9, abs=1e-3)
    rescaled = configure(
        "CartPole-v1",
        "ppo",
        schedule="early",
        prune_start=0.0,
        rescale_initial=True,
        score="random",
    )
    policy = fresh_policy(rescaled)
    make_sparsifier(rescaled, policy, seed=0).step(0.0)
    assert policy.mlp_extractor.policy_net[2].weight.norm().item() == pytest.approx(norm, rel=0.3)


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn"])
def test_weight_decay_reaches_every_optimizer_and_nothing_else(algo):
    plain, decayed = (
        fresh_policy(configure("CartPole-v1", algo, weight_decay=decay)).optimizer.param_groups[0]
        for decay in (0.0, 1e-4)
    )
    assert decayed["weight_decay"] == 1e-4
    for key in plain.keys() - {"params", "weight_decay"}:
        assert plain[key] == decayed[key]


@pytest.mark.parametrize("schedule", ["cubic", "one_shot"])
def test_the_schedule_is_over_at_its_stop(schedule):
    chosen = configure("CartPole-v1", "ppo", schedule=schedule, prune_start=0.1, prune_stop=0.5)
    sparsifier = make_sparsifier(chosen, fresh_policy(chosen), seed=0)
    sparsifier.step(0.45)
    assert not sparsifier.finished
    sparsifier.step(0.5)
    assert sparsifier.finished


@pytest.mark.parametrize("pattern", config.PATTERNS)
def test_every_pattern_makes_a_plan(pattern):
    sparsity = {"2:4": 0.5, "1:4": 0.75}.get(pattern, 0.8)
    allocation = "pattern" if pattern in ("neurons", "2:4", "1:4") else "erk"
    chosen = configure(
        "CartPole-v1", "ppo", sparsity=sparsity, pattern=pattern, allocation=allocation
    )
    plan = choose_strategy(chosen, fresh_policy(chosen))
    weights = [layer.inputs * layer.outputs for layer in plan.layers]
    kept = sum(n * (1 - layer.sparsity) for n, layer in zip(weights, plan.layers, strict=True))
    assert kept <= (1 - sparsity) * sum(weights) + 0.5
    assert pattern in plan.how


def test_a_pattern_that_splits_the_budget_takes_no_allocation():
    with pytest.raises(ValueError, match="allocation: expected 'pattern' beside the pattern '2:4'"):
        configure("CartPole-v1", "ppo", sparsity=0.5, pattern="2:4")


def test_a_hybrid_removes_what_the_library_does_unless_said():
    assert Hybrid().neurons == config.HYBRID_NEURONS


@pytest.mark.parametrize("neurons", [0.25, 0.75])
def test_a_hybrid_removes_the_neurons_that_are_said(neurons):
    chosen = configure("CartPole-v1", "ppo", sparsity=0.98, pattern="hybrid", neurons=neurons)
    policy = fresh_policy(chosen)
    assert (
        f"neurons first, then single weights, here {neurons:.0%}"
        in choose_strategy(chosen, policy).how
    )
    sparsifier = make_sparsifier(chosen, policy, seed=0)
    sparsifier.step(1.0)
    for name in ("mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.2.weight"):
        assert int(sparsifier.masks[name].any(dim=1).sum()) <= round((1 - neurons) * 64)


@pytest.mark.parametrize("grow", [name for name in config.GROWTHS if name != "none"])
@pytest.mark.parametrize("pattern", config.PATTERNS)
def test_growth_is_made_or_refused_for_every_pattern(pattern, grow):
    options = {
        "sparsity": {"2:4": 0.5, "1:4": 0.75}.get(pattern, 0.8),
        "pattern": pattern,
        "allocation": "pattern",
        "schedule": "early",
        "prune_start": 0.0,
        "grow": grow,
    }
    if pattern in ("neurons", "hybrid", "connected"):
        with pytest.raises(
            ValueError, match=f"grow: expected 'none' beside the pattern {pattern!r}"
        ):
            configure("CartPole-v1", "ppo", **options)
        return
    chosen = configure("CartPole-v1", "ppo", **options)
    sparsifier = make_sparsifier(chosen, fresh_policy(chosen), seed=0)
    sparsifier.step(0.0)
    first = sparsifier.masks
    if grow == "random":
        sparsifier.step(0.1)
        assert any(not torch.equal(first[name], mask) for name, mask in sparsifier.masks.items())
    assert sparsifier.finished
