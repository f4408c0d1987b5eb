"""Neuron scores: which neurons matter. One score, one file, one class; exported by `prune`."""
