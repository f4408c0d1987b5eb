"""The tiny dense agent with as many weights and biases together as the pruned agent keeps."""

from __future__ import annotations

from sparseagent.study.method.narrow import Narrow, equal_parameters

METHOD = Narrow("tiny_biases", "tiny dense (biases counted)", equal_parameters)
