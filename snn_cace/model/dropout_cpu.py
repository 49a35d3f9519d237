"""The Numba kernel behind `snn_cace.model.dropout`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def drop(given: Any, out: Any, start: int, stop: int, seed: int, bound: int, scale: Any) -> None:
    """Elements start ... stop: zero where the hash of place and seed is below `bound`, else times `scale`."""
    zero = given.dtype.type(0)
    first, limit = np.uint32(seed), np.uint32(bound)
    for i in range(start, stop):
        mixed = np.uint32(np.uint32(i) * np.uint32(0x9E3779B9)) + first
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(16)))
        mixed = np.uint32(mixed * np.uint32(0x7FEB352D))
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(15)))
        mixed = np.uint32(mixed * np.uint32(0x846CA68B))
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(16)))
        out[i] = given[i] * scale if mixed >= limit else zero
