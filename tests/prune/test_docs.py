"""Every method has a page in the docs: what it does, its source, when to use it, its cost."""

import inspect
import re
from pathlib import Path

import pytest

from sparseagent import prune

PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"
# What composes methods, or describes them; not methods themselves.
FRAME = {
    *("Allocation", "Drop", "Growth", "Observer", "Pattern", "Schedule", "Score"),
    *("Layer", "Sparsifier", "Ticket", "effective_weights"),
    *("Contributions", "NeuronScore", "Penalty", "Pruned", "Removed"),
}


def methods():
    return sorted(
        name
        for name, value in vars(prune).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and name not in FRAME
    )


@pytest.mark.parametrize("name", methods())
def test_every_method_has_a_page(name):
    titles = [page.read_text().splitlines()[0] for page in PAGES.glob("*.md")]
    assert sum(f"`prune.{name}`" in title for title in titles) == 1


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_every_page_says_what_a_reader_asks(page):
    text = page.read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[:4] == ["What it does", "Source", "When to use it", "Cost"]
    for name in re.findall(r"prune\.(\w+)", text):
        assert hasattr(prune, name), f"{page.name} names prune.{name}"
