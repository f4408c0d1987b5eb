"""The commands of `sparseagent`, by what they work on; importing a module adds its commands."""

from sparseagent.commands import runs, policies, exporting, studies  # isort: skip  # the order of the help
from sparseagent.commands.console import app

__all__ = ["app", "exporting", "policies", "runs", "studies"]
