import pytest

from sparseagent.train import RunConfig, configure
from sparseagent.train.choices import STRATEGIES
from sparseagent.train.choose import with_strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_what_its_settings_come_to(name):
    assert configure("CartPole-v1", strategy=name).strategies[-1] == name


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("weight", {"pattern": "fan_in", "allocation": "erk", "schedule": "cubic"}),
        ("structured", {"pattern": "neurons", "allocation": "pattern", "schedule": "cubic"}),
        ("network", {"pattern": "fan_in", "allocation": "global", "schedule": "cubic"}),
        ("hybrid", {"pattern": "hybrid", "allocation": "erk", "schedule": "cubic"}),
        ("automatic", {"pattern": "fan_in", "allocation": "erk", "schedule": "automatic"}),
    ],
)
def test_a_strategy_fills_in_choices(name, fields):
    config = configure("CartPole-v1", strategy=name)
    assert {field: getattr(config, field) for field in fields} == fields


def test_without_a_strategy_single_weights_go():
    assert configure("CartPole-v1") == configure("CartPole-v1", strategy="weight")
    assert RunConfig("CartPole-v1").strategies == ("weight",)


def test_other_choices_refine_a_strategy():
    config = configure("CartPole-v1", strategy="hybrid", neurons=0.7, schedule="automatic")
    assert (config.pattern, config.neurons) == ("hybrid", 0.7)
    assert config.strategies == ("hybrid", "automatic")
    blocks = configure("CartPole-v1", strategy="network", pattern="block_16x1")
    assert blocks.strategies == ("weight", "network")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("neuron", {}, "strategy: expected one of 'weight' .*; got 'neuron'"),
        ("weight", {"pattern": "hybrid"}, "strategy: expected settings of 'weight' .* 'hybrid'$"),
        ("structured", {"pattern": "unstructured"}, "strategy: .* which are 'weight'$"),
        ("network", {"allocation": "lamp"}, "strategy: .*, got .* the allocation 'lamp'"),
        ("automatic", {"schedule": "cubic"}, "strategy: .* the schedule 'cubic', which are"),
        ("structured", {"allocation": "erk"}, "allocation: expected 'pattern' beside"),
    ],
)
def test_other_choices_cannot_undo_a_strategy(name, changes, message):
    with pytest.raises(ValueError, match=message):
        configure("CartPole-v1", strategy=name, **changes)


def test_a_strategy_takes_over_a_configuration_that_exists():
    base = configure("CartPole-v1", sparsity=0.95, strategy="hybrid")
    assert with_strategy(base, "structured", {}).strategies == ("structured",)
    assert with_strategy(base, None, {"sparsity": 0.8}).strategies == ("hybrid",)
    with pytest.raises(ValueError, match="strategy: expected settings of 'weight'"):
        with_strategy(base, "weight", {})
