"""Numba kernels behind `neurons.kernels.event`: rows are independent."""

from __future__ import annotations

from typing import Any

from neurons.kernels.threads import compiled


@compiled(error_model="numpy")
def list_active(values: Any, start: int, stop: int, places: Any, counts: Any) -> None:
    """Where the values `[R, I]` of the rows start ... stop are not zero: the first counts `[R]` of places `[R, I]`."""
    for row in range(start, stop):
        x, p, count = values[row], places[row], 0
        for i in range(len(x)):
            p[count] = i
            count += x[i] != 0
        counts[row] = count


@compiled(error_model="numpy", fastmath={"contract"})
def add_columns(
    values: Any, start: int, stop: int, places: Any, counts: Any, columns: Any, scale: Any, bias: Any, out: Any
) -> None:
    """out = scale values columns + bias of the rows start ... stop, whose values are not zero at `places`: values and
    places `[R, I]`, counts `[R]`, columns `[I, O]` of their type or of integers, scale and bias `[O]`, out `[R, O]`.
    """
    for row in range(start, stop):
        x, p, y, count = values[row], places[row], out[row], counts[row]
        for j in range(len(y)):
            y[j] = 0
        whole = count - count % 8
        for k in range(0, whole, 8):  # eight columns at a time: y is read and written once for them
            a, b, c, d, e, f, g, h = p[k], p[k + 1], p[k + 2], p[k + 3], p[k + 4], p[k + 5], p[k + 6], p[k + 7]
            xa, xb, xc, xd, xe, xf, xg, xh = x[a], x[b], x[c], x[d], x[e], x[f], x[g], x[h]
            for j in range(len(y)):
                y[j] += (xa * columns[a, j] + xb * columns[b, j] + xc * columns[c, j] + xd * columns[d, j]) + (
                    xe * columns[e, j] + xf * columns[f, j] + xg * columns[g, j] + xh * columns[h, j]
                )
        for k in range(whole, count):
            a = p[k]
            for j in range(len(y)):
                y[j] += x[a] * columns[a, j]
        for j in range(len(y)):
            y[j] = scale[j] * y[j] + bias[j]
