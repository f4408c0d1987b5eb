"""Patterns: legal shapes of zeros. One pattern, one file, one class; exported by `prune`."""
