"""The error for what is sound but cannot become a policy."""

from __future__ import annotations


class UnsupportedError(TypeError, ValueError):
    """A space, class or module that no policy can hold.

    Of a live model it is the wrong type; of a file it is wrong content, and whoever reads files of
    strangers catches `ValueError` alone. Hence both.
    """


class UnreadyError(UnsupportedError):
    """An agent that neither pruning nor conversion knows yet: training would be for nothing."""
