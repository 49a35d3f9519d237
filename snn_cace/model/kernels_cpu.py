"""The Numba kernels behind `snn_cace.model.dropout` and `snn_cace.model.residual`.

Loops run from 0 over slices: an index that might be negative keeps them from being vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

REORDERED = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order, so that they are vectorised; infinities and NaN pass through."""


@njit(cache=True, nogil=True, error_model="numpy")
def drop(given: Any, out: Any, start: int, stop: int, seed: int, bound: int, scale: Any) -> None:
    """Elements start ... stop: zero where the hash of place and seed is below `bound`, else times `scale`."""
    zero = given.dtype.type(0)
    values, results = given[start:stop], out[start:stop]
    step, limit = np.uint32(0x9E3779B9), np.uint32(bound)
    first = np.uint32(np.uint32(seed) + np.uint32(np.uint32(start) * step))
    for i in range(len(values)):
        mixed = np.uint32(np.uint32(np.uint32(i) * step) + first)
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(16)))
        mixed = np.uint32(mixed * np.uint32(0x7FEB352D))
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(15)))
        mixed = np.uint32(mixed * np.uint32(0x846CA68B))
        mixed = np.uint32(mixed ^ np.uint32(mixed >> np.uint32(16)))
        results[i] = values[i] * scale if mixed >= limit else zero


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def normalise(
    kept: Any,
    branch: Any,
    total: Any,
    out: Any,
    moments: Any,
    weight: Any,
    bias: Any,
    eps: float,
    start: int,
    stop: int,
    seed: int,
    bound: int,
    scale: Any,
) -> None:
    """Rows start ... stop of `[R, N]`: total = kept + dropped branch, out = its layer norm; moments `[2, R]`: mean and
    1 / standard deviation.
    """
    size = kept.shape[1]
    one, width = kept.dtype.type(1), kept.dtype.type(size)
    small = kept.dtype.type(eps)
    from_branch, into = branch.reshape(-1), total.reshape(-1)
    for row in range(start, stop):
        first, summed, result = kept[row], total[row], out[row]
        if bound > 0:
            drop(from_branch, into, row * size, (row + 1) * size, seed, bound, scale)
            for i in range(size):
                summed[i] += first[i]
        else:
            second = branch[row]
            for i in range(size):
                summed[i] = first[i] + second[i]
        mean = kept.dtype.type(0)
        for i in range(size):
            mean += summed[i]
        mean /= width
        spread = kept.dtype.type(0)
        for i in range(size):
            spread += (summed[i] - mean) * (summed[i] - mean)
        inverse = one / np.sqrt(spread / width + small)
        moments[0, row], moments[1, row] = mean, inverse
        for i in range(size):
            result[i] = (summed[i] - mean) * inverse * weight[i] + bias[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def unnormalise(
    gradient: Any,
    total: Any,
    moments: Any,
    weight: Any,
    to_kept: Any,
    to_branch: Any,
    to_weight: Any,
    to_bias: Any,
    start: int,
    stop: int,
    seed: int,
    bound: int,
    scale: Any,
) -> None:
    """The way back of rows start ... stop; `to_weight` and `to_bias` `[N]` are added to."""
    size = total.shape[1]
    width = total.dtype.type(size)
    from_kept, into = to_kept.reshape(-1), to_branch.reshape(-1)
    for row in range(start, stop):
        given, summed, result = gradient[row], total[row], to_kept[row]
        mean, inverse = moments[0, row], moments[1, row]
        level = total.dtype.type(0)
        slope = total.dtype.type(0)
        for i in range(size):
            normal = (summed[i] - mean) * inverse
            pushed = given[i] * weight[i]
            to_weight[i] += given[i] * normal
            to_bias[i] += given[i]
            level += pushed
            slope += pushed * normal
        level /= width
        slope /= width
        for i in range(size):
            normal = (summed[i] - mean) * inverse
            result[i] = inverse * (given[i] * weight[i] - level - normal * slope)
        if bound > 0:
            drop(from_kept, into, row * size, (row + 1) * size, seed, bound, scale)
