"""The Numba kernels behind `snn_cace.model.dropout`, `snn_cace.model.residual` and `snn_cace.model.scores`.

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


@njit(cache=True, nogil=True, error_model="numpy")
def drop_rectified(given: Any, out: Any, start: int, stop: int, seed: int, bound: int, scale: Any) -> None:
    """`drop` of what is above zero; all else is zero, and NaN stays."""
    drop(given, out, start, stop, seed, bound, scale)
    zero = given.dtype.type(0)
    results = out[start:stop]
    for i in range(len(results)):
        results[i] = zero if results[i] <= zero else results[i]


@njit(cache=True, nogil=True, error_model="numpy")
def where_above(gradient: Any, out: Any, result: Any, start: int, stop: int, scale: Any) -> None:
    """The gradient times `scale` where `out` is above zero or NaN, else zero."""
    zero = out.dtype.type(0)
    pushed, seen, results = gradient[start:stop], out[start:stop], result[start:stop]
    for i in range(len(seen)):
        results[i] = zero if seen[i] <= zero else pushed[i] * scale


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def score(values: Any, stride: int, asked: Any, scores: Any, start: int, stop: int) -> None:
    """Rows start ... stop: scores `[R, P]`, the sum of asked `[R, N]` times what of values is above zero.

    Values `[R, P, N]` lie flat, the N of each place together and `stride` after those of the last.
    """
    places, size = scores.shape[1], asked.shape[1]
    zero = asked.dtype.type(0)
    for row in range(start, stop):
        wanted = asked[row]
        for place in range(places):
            begin = (row * places + place) * stride
            seen = values[begin : begin + size]
            total = zero
            for i in range(size):
                total += (zero if seen[i] <= zero else seen[i]) * wanted[i]
            scores[row, place] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def unscore(
    gradient: Any, values: Any, stride: int, asked: Any, to_values: Any, to_asked: Any, start: int, stop: int
) -> None:
    """The way back of rows start ... stop: to_values `[R, P, N]`, to_asked `[R, N]`."""
    places, size = gradient.shape[1], asked.shape[1]
    zero = asked.dtype.type(0)
    for row in range(start, stop):
        wanted, asking = asked[row], to_asked[row]
        asking[:] = zero
        for place in range(places):
            begin = (row * places + place) * stride
            seen, result = values[begin : begin + size], to_values[row, place]
            push = gradient[row, place]
            for i in range(size):
                above = zero if seen[i] <= zero else seen[i]
                asking[i] += push * above
                result[i] = zero if seen[i] <= zero else push * wanted[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def normalise(
    kept: Any,
    branch: Any,
    total: Any,
    out: Any,
    moments: Any,
    weight: Any,
    bias: Any,
    start: int,
    stop: int,
    eps: float,
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
        drop(from_branch, into, row * size, (row + 1) * size, seed, bound, scale)
        for i in range(size):
            summed[i] += first[i]
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
    """The way back, in parts of all rows of which this does start ... stop; `to_weight` and `to_bias` `[parts, N]` are
    added to.
    """
    parts, (rows, size) = len(to_weight), total.shape
    width = total.dtype.type(size)
    from_kept, into = to_kept.reshape(-1), to_branch.reshape(-1)
    for part in range(start, stop):
        weights, biases = to_weight[part], to_bias[part]
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            given, summed, result = gradient[row], total[row], to_kept[row]
            mean, inverse = moments[0, row], moments[1, row]
            level = total.dtype.type(0)
            slope = total.dtype.type(0)
            for i in range(size):
                normal = (summed[i] - mean) * inverse
                pushed = given[i] * weight[i]
                weights[i] += given[i] * normal
                biases[i] += given[i]
                level += pushed
                slope += pushed * normal
            level /= width
            slope /= width
            for i in range(size):
                normal = (summed[i] - mean) * inverse
                result[i] = inverse * (given[i] * weight[i] - level - normal * slope)
            drop(from_kept, into, row * size, (row + 1) * size, seed, bound, scale)
