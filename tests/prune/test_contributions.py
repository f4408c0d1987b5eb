"""The report on what neurons contribute."""

import math

import pytest
import torch
from sb3_runs import ppo
from torch import nn

from sparseagent.prune import contributions


@pytest.fixture
def net():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 7.0, 0.0]))
        net[2].weight.copy_(torch.tensor([[1.0, 1.0, 0.0]]))
    return net


BATCH = torch.tensor([[1.0, 1.0], [1.0, 1.0]])  # activations 7, 7 and 1


def test_numbers_by_hand(net):
    (layer,) = contributions(net, BATCH).layers
    assert layer.name == "0.weight"
    assert [row.neuron for row in layer.neurons] == [0, 1, 2]
    assert [row.norm for row in layer.neurons] == [5.0, 0.0, 1.0]
    assert [row.incoming for row in layer.neurons] == [2, 0, 1]
    assert [row.outgoing for row in layer.neurons] == [1, 1, 0]
    assert [row.p for row in layer.neurons] == pytest.approx([1.0, 1.0, 1 / 7])
    shares = [7 / 15, 7 / 15, 1 / 15]
    assert [row.share for row in layer.neurons] == pytest.approx(shares)
    entropy = -sum(share * math.log(share) for share in shares)
    assert layer.entropy == pytest.approx(entropy, rel=1e-6)
    assert layer.relative_entropy == pytest.approx(entropy / math.log(3), rel=1e-6)


def test_the_table_begins_with_those_that_contribute_least(net):
    report = contributions(net, BATCH)
    lines = str(report).splitlines()
    assert lines[0].startswith("0.weight: 3 neurons, entropy 0.892 (81% of the largest)")
    assert lines[1].split() == ["neuron", "norm", "incoming", "outgoing", "p", "lambda"]
    assert [line.split()[0] for line in lines[2:]] == ["2", "1", "0"]
    assert lines[2].split() == ["2", "1.0000", "1", "0", "0.1429", "0.0667"]
    assert len(report.table(most=1).splitlines()) == 3


def test_the_plot_has_a_panel_a_layer(net, tmp_path):
    figure = contributions(net, BATCH).plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 5000
    (panel,) = figure.axes
    drawn = {c.get_label(): c.get_offsets().data.tolist() for c in panel.collections}
    assert drawn["connected"] == [[5.0, pytest.approx(7 / 15)]]
    assert len(drawn["cut off"]) == 2


def test_an_agent():
    model = ppo()
    model.learn(32)
    report = contributions(model.policy, model.rollout_buffer.observations.reshape(-1, 3))
    assert report.layers[0].name == "mlp_extractor.policy_net.0.weight"
    assert [len(layer.neurons) for layer in report.layers] == [16, 16, 16, 16]


def test_a_module_without_hidden_neurons_is_refused():
    with pytest.raises(ValueError, match="module: expected hidden neurons"):
        contributions(nn.Linear(2, 2), BATCH)
