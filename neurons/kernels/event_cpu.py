"""Numba kernels behind `neurons.kernels.event`: rows are independent."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurons.kernels.threads import compiled


@compiled(error_model="numpy", fastmath={"contract"})
def add_columns(values: Any, start: int, stop: int, columns: Any, bias: Any, out: Any) -> None:
    """out = values columns + bias of the rows start ... stop: values `[R, I]`, columns `[I, O]`, out `[R, O]`."""
    active = np.empty(values.shape[1], np.int64)
    for row in range(start, stop):
        x, y, count = values[row], out[row], 0
        for i in range(len(x)):
            active[count] = i
            count += x[i] != 0
        for j in range(len(y)):
            y[j] = bias[j]
        whole = count - count % 4
        for k in range(0, whole, 4):  # four columns at a time: y is read and written once for them
            a, b, c, d = active[k], active[k + 1], active[k + 2], active[k + 3]
            xa, xb, xc, xd = x[a], x[b], x[c], x[d]
            for j in range(len(y)):
                y[j] += xa * columns[a, j] + xb * columns[b, j] + xc * columns[c, j] + xd * columns[d, j]
        for k in range(whole, count):
            a = active[k]
            for j in range(len(y)):
                y[j] += x[a] * columns[a, j]


@compiled(error_model="numpy")
def not_zero(values: Any) -> int:
    """How many of the values `[R, I]` are not zero."""
    count = 0
    for row in range(len(values)):
        for i in range(values.shape[1]):
            count += values[row, i] != 0
    return count
