from itertools import product

import pytest
import torch
from stable_baselines3.common.callbacks import ConvertCallback

from sparseagent.prune import Hybrid
from sparseagent.prune.observation import is_observer
from sparseagent.train import choices, configure, strategy
from sparseagent.train.agent import fresh_policy, make_envs, make_model
from sparseagent.train.stage import sections_of
from sparseagent.train.strategy import check_pruning, choose_strategy, make_sparsifier


def test_every_name_of_a_configuration_stands_for_something():
    assert set(strategy._SCORES) == set(choices.SCORES)
    assert set(strategy._PATTERNS) == set(choices.PATTERNS)
    assert set(strategy._ALLOCATIONS) == set(choices.ALLOCATIONS)
    assert set(strategy._SCHEDULES) == set(choices.SCHEDULES)
    assert set(strategy._GROWTHS) == set(choices.GROWTHS)


@pytest.mark.parametrize("score", choices.SCORES)
def test_the_scores_of_gradients_are_known(score):
    assert is_observer(strategy._SCORES[score](0)) == (score in choices.GRADIENT_SCORES)


@pytest.mark.parametrize(
    ("allocation", "score"),
    [pair for pair in product(choices.ALLOCATIONS, choices.SCORES) if pair != ("lamp", "movement")],
)
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


def test_the_text_and_the_bars_wait_until_learning_starts():
    chosen = configure("Pendulum-v1", "td3", net_arch=(8, 8))
    plan = choose_strategy(chosen, fresh_policy(chosen))
    assert "from step 12,000 to 18,000 of 20,000" in plan.how
    assert "the last 2,000 steps" in plan.how
    assert sections_of(chosen, "pruned") == (("3/5 prune", 18_000), ("4/5 fine-tune", 20_000))


@pytest.mark.parametrize(("start", "step"), [(0.0, "0"), (0.1, "11,000")])
def test_what_is_pruned_before_training_does_not_wait(start, step):
    chosen = configure("Pendulum-v1", "td3", net_arch=(8, 8), schedule="early", prune_start=start)
    assert f", at {step} of 20,000" in choose_strategy(chosen, fresh_policy(chosen)).how


def test_pruning_happens_at_the_steps_that_are_said():
    chosen = configure(
        "Pendulum-v1",
        "sac",
        net_arch=(8, 8),
        schedule="one_shot",
        total_timesteps=300,
        hyperparameters={"learning_starts": 200, "batch_size": 8},
    )
    model = make_model(chosen, make_envs(chosen, seed=0), seed=0)
    sparsifier = make_sparsifier(chosen, model.policy, seed=0)
    seen = {}

    def note(told, _):
        seen[told["self"].num_timesteps] = sparsifier.sparsity()
        return True

    model.learn(300, callback=[sparsifier.callback(), ConvertCallback(note)])
    _, stop = chosen.ramp_steps
    # A step is counted before the update that follows it.
    assert stop == 280
    assert seen[stop] == 0.0
    assert seen[stop + 1] > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_gradients": True, "grow": "random"}, "mask_gradients: expected False with grow"),
        ({"rescale_initial": True}, "rescale_initial: expected"),
        ({"drop_fraction": 0.5}, "drop_fraction: expected 0.3 beside grow 'none'"),
        ({"sparsity": 0.9999}, "schedule: expected to keep|density: expected to keep"),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_the_policy_kept(options, message):
    chosen = configure("CartPole-v1", "ppo", **options)
    policy = fresh_policy(chosen)
    before = [weight.clone() for weight in policy.parameters()]
    with pytest.raises(ValueError, match=message):
        check_pruning(chosen, policy)
    assert all(map(torch.equal, before, policy.parameters()))


def test_a_share_to_exchange_goes_with_growth():
    chosen = configure("CartPole-v1", "ppo", drop_fraction=0.5, grow="random")
    check_pruning(chosen, fresh_policy(chosen))


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


@pytest.mark.parametrize("pattern", choices.PATTERNS)
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
    assert Hybrid().neurons == choices.HYBRID_NEURONS


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


@pytest.mark.parametrize("grow", [name for name in choices.GROWTHS if name != "none"])
@pytest.mark.parametrize("pattern", choices.PATTERNS)
def test_growth_is_made_or_refused_for_every_pattern(pattern, grow):
    options = {
        "sparsity": {"2:4": 0.5, "1:4": 0.75}.get(pattern, 0.8),
        "pattern": pattern,
        "allocation": "pattern",
        "schedule": "early",
        "prune_start": 0.0,
        "grow": grow,
    }
    if pattern in ("neurons", "hybrid", "fan_in", "connected"):
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


def test_step_one_says_which_neurons_the_default_does_without():
    lander = configure("LunarLander-v3", "ppo", sparsity=0.95)
    said = choose_strategy(lander, fresh_policy(lander)).how
    assert said.endswith(
        " 16-16 of 64-64 hidden neurons stay in the actor: with all of them fewer than 4 inputs "
        "would be left for each."
    )
    wide = configure("LunarLander-v3", "ppo", sparsity=0.5)
    assert "stay in the actor" not in choose_strategy(wide, fresh_policy(wide)).how
    plain = configure("LunarLander-v3", "ppo", sparsity=0.95, pattern="unstructured")
    assert "stay in the actor" not in choose_strategy(plain, fresh_policy(plain)).how


def test_the_default_gives_way_to_what_it_does_not_fit():
    for given in ({"grow": "random"}, {"output_floor": 0.5}):
        assert configure("CartPole-v1", **given).pattern == "unstructured"
    assert configure("CartPole-v1", grow="none", output_floor=0.0).pattern == "fan_in"
