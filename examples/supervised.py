"""Train, prune, save, reload and fine-tune a small classifier: plain torch, no agent involved.

The network has 10 inputs, 5 hidden neurons and 3 classes:

    python examples/supervised.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from sparseagent import prune


class Classifier(nn.Module):
    """10 inputs, 5 hidden neurons, 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(10, 5)
        self.output = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, 3]` of inputs `[B, 10]`."""
        return self.output(torch.relu(self.hidden(x)))


def make_data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs `[count, 10]` of which three matter: the class is the largest of the first three."""
    x = torch.randn(count, 10, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :3].argmax(dim=1)


def train(
    network: nn.Module, epochs: int, sparsifier: prune.Sparsifier | None = None, lr: float = 0.01
) -> None:
    """Cross-entropy and Adam on 2,000 samples; a sparsifier keeps its zeros."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    if sparsifier is not None:
        sparsifier.attach(optimizer)
    x, y = make_data(2000, seed=1)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    if sparsifier is not None:
        sparsifier.detach()


@torch.no_grad()
def accuracy(network: nn.Module) -> float:
    """Share of 2,000 unseen samples that are classified correctly, in [0, 1]."""
    x, y = make_data(2000, seed=2)
    return float((network(x).argmax(dim=1) == y).float().mean())


def main(sparsity: float, epochs: int, out: Path) -> dict[str, float]:
    """Go the whole way; the accuracy after each step."""
    torch.manual_seed(0)
    network = Classifier()
    train(network, epochs)
    result = {"dense": accuracy(network)}

    small, sparsifier = prune.prune_model(network, sparsity)
    result["pruned"] = accuracy(small)
    train(small, epochs, sparsifier)
    result["fine-tuned"] = accuracy(small)
    print(sparsifier.summary())
    torch.save(small.state_dict(), out)

    # The file loads into the original class. Its zeros are the masks of whoever goes on.
    loaded = Classifier()
    loaded.load_state_dict(torch.load(out, weights_only=True))
    result["reloaded"] = accuracy(loaded)
    again, sparsifier = prune.prune_model(loaded, sparsity)
    train(again, epochs, sparsifier, lr=0.003)
    result["trained on"] = accuracy(again)
    for step, share in result.items():
        print(f"{step}: accuracy {share:.3f}")
    print(prune.contributions(again, make_data(500, seed=3)[0]))
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sparsity", type=float, default=0.6)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("classifier.pt"))
    main(**vars(parser.parse_args()))
