"""The Numba kernels behind `snn_cace.kernels.dropout` and `snn_cace.kernels.residual`.

Loops run from 0 over slices: an index that might be negative keeps them from being vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurons.kernels.threads import compiled

REORDERED = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order, so that they are vectorised; infinities and NaN pass through."""


@compiled(error_model="numpy")
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


@compiled(error_model="numpy", fastmath=REORDERED)
def residual_layer_norm(
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


@compiled(error_model="numpy", fastmath=REORDERED)
def layer_norm_backward(
    gradient: Any,
    total: Any,
    moments: Any,
    weight: Any,
    grad_kept: Any,
    grad_branch: Any,
    grad_weight: Any,
    grad_bias: Any,
    start: int,
    stop: int,
    seed: int,
    bound: int,
    scale: Any,
) -> None:
    """The backward pass, in parts of all rows of which this does start ... stop; `grad_weight` and `grad_bias`,
    `[parts, N]`, are added to.
    """
    parts, (rows, size) = len(grad_weight), total.shape
    width = total.dtype.type(size)
    flat_kept, into = grad_kept.reshape(-1), grad_branch.reshape(-1)
    for part in range(start, stop):
        weights, biases = grad_weight[part], grad_bias[part]
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            given, summed, result = gradient[row], total[row], grad_kept[row]
            mean, inverse = moments[0, row], moments[1, row]
            mean_gradient = total.dtype.type(0)
            slope = total.dtype.type(0)
            for i in range(size):
                normal = (summed[i] - mean) * inverse
                scaled = given[i] * weight[i]
                weights[i] += given[i] * normal
                biases[i] += given[i]
                mean_gradient += scaled
                slope += scaled * normal
            mean_gradient /= width
            slope /= width
            for i in range(size):
                normal = (summed[i] - mean) * inverse
                result[i] = inverse * (given[i] * weight[i] - mean_gradient - normal * slope)
            drop(flat_kept, into, row * size, (row + 1) * size, seed, bound, scale)
