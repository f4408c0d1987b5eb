"""Growths: which pruned weights come back. One growth, one file, one class; exported by `prune`."""
