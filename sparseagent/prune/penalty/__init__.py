"""Penalties: terms of a loss that make weights small. One penalty, one file, one class."""
