"""Scores: which weights matter. One score, one file, one class; exported by `sparseagent.prune`."""
