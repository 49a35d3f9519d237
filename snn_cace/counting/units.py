"""Numbers as tables and findings print them, with three digits."""

from __future__ import annotations


def count(value: float) -> str:
    """An operation count with a unit: 885 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def microjoules(millijoules: float) -> str:
    return f"{1000 * millijoules:.3g}" if 1000 * millijoules < 1000 else f"{1000 * millijoules:.0f}"


def rate_percent(rate: float) -> str:
    """A firing rate, which may be small."""
    return f"{100 * rate:.3g}"
