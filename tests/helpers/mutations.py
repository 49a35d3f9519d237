"""Property-based tests of damaged input: how many examples, and how bytes are damaged.

    SNN_CACE_EXAMPLES=10000 python -m pytest -k mutated

runs each with 10,000 examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def examples(count: int) -> Callable:
    """hypothesis settings: `count` examples, or what SNN_CACE_EXAMPLES says; the same in every run."""
    count = int(os.environ.get("SNN_CACE_EXAMPLES", count))
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)


def damaged(draw: Callable, content: bytes) -> bytes:
    """`content` with some bytes changed, a piece cut out, or its end cut off."""
    how = draw(st.sampled_from(["flip", "flip", "flip", "zero", "cut", "truncate"]))
    if how == "flip":
        changed = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
            changed[place] ^= draw(st.integers(1, 255))
        return bytes(changed)
    start = draw(st.integers(0, len(content) - 1))
    stop = min(len(content), start + draw(st.integers(1, 64)))
    if how == "zero":
        return content[:start] + bytes(stop - start) + content[stop:]
    return content[:start] + (content[stop:] if how == "cut" else b"")
