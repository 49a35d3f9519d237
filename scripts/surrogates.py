"""Write docs/explanations/surrogates.md and surrogates.svg: every surrogate's slope as a formula and as a curve.

python scripts/surrogates.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from neurons import SURROGATES, make_surrogate
from neurons.surrogate import parameter_names

SLOPES = {
    "quadratic_gate": "where(abs(u) <= 1 / alpha, alpha - alpha**2 * abs(u), 0)",
    "piecewise_quadratic": "where(abs(u) <= 1 / alpha, alpha - alpha**2 * abs(u), 0)",
    "piecewise_exp": "alpha / 2 * exp(-alpha * abs(u))",
    "sigmoid": "alpha * sigmoid(alpha * u) * sigmoid(-alpha * u)",
    "soft_sign": "1 / (2 * alpha * (1 / alpha + abs(u)) ** 2)",
    "super_spike": "alpha / (1 + abs(u)) ** 2",
    "atan": "alpha / 2 / (1 + (pi / 2 * alpha * u) ** 2)",
    "nonzero_sign_log_abs": "1 / (1 / alpha + abs(u))",
    "erf": "alpha / sqrt(pi) * exp(-((alpha * u) ** 2))",
    "piecewise_leaky_relu": "where(abs(u) <= w, 1 / (2 * w), c)",
    "squarewave_fourier_series": "4 / T_period * sum(cos((2 * i - 1) * 2 * pi / T_period * u) for i in range(1, n))",
    "s2nn": "where(u < 0, alpha * sigmoid(alpha * u) * sigmoid(-alpha * u), beta / (u + 1))",
    "q_pseudo_spike": "(1 + 2 / (alpha - 1) * abs(u)) ** -alpha",
    "leaky_k_relu": "where(u < 0, leak, k)",
    "fake_numerical_gradient": "minimum(1 / abs(u), alpha)",
    "log_tailed_relu": "where(u <= 0, alpha, where(u <= 1, 1, 1 / u))",
    "rect": "where(abs(u) < 1 / (2 * alpha), alpha, 0)",
}
"""d spike / du as SpikingJelly 2.0 computes it, u = membrane - threshold; an expression of NumPy's functions."""


def slope(name: str, u: torch.Tensor) -> torch.Tensor:
    """The surrogate's slope at `u`, with its default parameters."""
    u = u.clone().requires_grad_()
    make_surrogate(name)(u).sum().backward()
    assert u.grad is not None
    return u.grad


def table() -> str:
    lines = ["| name | slope, u = membrane - threshold | parameters and defaults |", "| --- | --- | --- |"]
    for name in SURROGATES:
        built = make_surrogate(name)
        parameters = ", ".join(f"{parameter} {getattr(built, parameter):g}" for parameter in parameter_names(name))
        lines.append(f"| `{name}` | `{SLOPES[name]}` | {parameters} |")
    return chr(10).join(lines)


def plot(path: Path) -> None:
    u = torch.linspace(-2, 2, 801, dtype=torch.float64)
    figure = Figure(figsize=(11, 8), layout="constrained")
    for axes, name in zip(figure.subplots(3, 6, sharex=True).flat, SURROGATES, strict=False):
        axes.plot(u, slope(name, u), color="#1f6f8b")
        axes.set_title(name, fontsize=8)
        axes.set_ylim(bottom=min(0, float(slope(name, u).min())))
        axes.grid(alpha=0.25)
    figure.axes[-1].set_axis_off()
    figure.supxlabel("membrane - threshold")
    figure.supylabel("slope")
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def main(directory: Path) -> None:
    text = (
        "# Surrogates\n\nWhat takes the place of the derivative of a spike: `model.spiking.surrogate` in a config. All "
        "spike at or above\nthe threshold but `quadratic_gate`, the original CACE-Net's, which spikes strictly above. "
        "This page is made by\n`python scripts/surrogates.py`.\n\n"
    )
    (directory / "surrogates.md").write_text(f"{text}{table()}\n\n![slopes](surrogates.svg)\n", encoding="utf-8")
    plot(directory / "surrogates.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "explanations")
