"""Every method has a page in the docs: what it does, its source, when to use it, its cost."""

import inspect
import re
from pathlib import Path

import pytest

from sparseagent import prune

PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"
INDEX = PAGES / "README.md"
METHOD_PAGES = sorted(page for page in PAGES.glob("*.md") if page != INDEX)
# What composes methods, describes them, or is returned by them; not methods themselves.
FRAME = {
    *("Allocation", "Drop", "Growth", "NeuronScore", "Observer", "Pattern", "Penalty", "Schedule"),
    *("Score", "Contributions", "Layer", "Pruned", "Removed", "Sparsifier", "Ticket"),
    "PruningWarning",
    "effective_weights",
}


def methods():
    return sorted(
        name
        for name, value in vars(prune).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and name not in FRAME
    )


@pytest.mark.parametrize("name", methods())
def test_every_method_has_a_page(name):
    titles = [page.read_text().splitlines()[0] for page in METHOD_PAGES]
    assert sum(f"`prune.{name}`" in title for title in titles) == 1


@pytest.mark.parametrize("page", METHOD_PAGES, ids=lambda page: page.stem)
def test_every_page_says_what_a_reader_asks(page):
    text = page.read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[:4] == ["What it does", "Source", "When to use it", "Cost"]
    for name in re.findall(r"prune\.(\w+)", text):
        assert hasattr(prune, name), f"{page.name} names prune.{name}"


def test_the_index_leads_to_every_page():
    links = set(re.findall(r"\]\((\S+?)\)", INDEX.read_text()))
    assert links == {page.name for page in METHOD_PAGES}


def test_the_index_names_what_exists():
    text = INDEX.read_text()
    tables = text[text.index("## The methods of the literature") :]
    named = re.findall(r"`(?:initial=)?([A-Z]\w+)\(", tables)
    assert len(named) > 20
    assert all(hasattr(prune, name) for name in named)
