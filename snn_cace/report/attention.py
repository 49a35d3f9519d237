"""Where guidance attention looks, drawn over the pictures, from plain values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from snn_cace.comparison.schema import Result
from snn_cace.files import write_text
from snn_cace.report import figures
from snn_cace.report.conclusions import markdown_table

ATTENTIONS = {"spatial": "by the sound", "self_spatial": "by the picture"}
WEIGHT_SHARE = 0.6
"""Of the weights' colour where they are drawn over a picture."""
NEVER_BRIGHTER = 1e-9
RIGHT, WRONG = "#3f7d2c", "#b3541e"
GAP = 0.04
"""Between pictures of a row, of their width."""


def overlaid(pictures: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Pictures `[T, height, width]` or with three colours, in [0, 1], with weights `[T, H, W]` over them, each
    segment's from none to its largest: colours `[T, height, width, 3]`.
    """
    colours = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, -1)
    if weights is None:
        return colours
    height, width = colours.shape[1:3]
    rows = np.arange(height) * weights.shape[1] // height
    columns = np.arange(width) * weights.shape[2] // width
    large = weights[:, rows][:, :, columns]
    heat = mpl.colormaps["inferno"](large / np.maximum(large.max((1, 2), keepdims=True), NEVER_BRIGHTER))[..., :3]
    return (1 - WEIGHT_SHARE) * colours + WEIGHT_SHARE * heat


def strip(pictures: np.ndarray) -> np.ndarray:
    """Pictures `[T, height, width, 3]` in a row, transparent between them: `[height, width of all, 4]`."""
    opaque = np.concatenate([pictures, np.ones((*pictures.shape[:3], 1))], -1)
    gap = np.zeros((pictures.shape[1], max(1, round(GAP * pictures.shape[2])), 4))
    return np.concatenate([part for picture in opaque for part in (gap, picture)], 1)


def panels(clip: dict[str, Any], classes: list[str], pictures: np.ndarray) -> list[tuple[str, np.ndarray, list, list]]:
    """Of the truth, then of each network: its name, its pictures `[T, height, width, 3]`, and by segment the class that
    it says and the colour that says whether it is right.
    """
    truth = clip["truth"]
    said = [("truth", overlaid(pictures), truth, [figures.INK] * len(truth))]
    for network in clip["networks"]:
        shades = [RIGHT if here == right else WRONG for here, right in zip(network["predicted"], truth, strict=True)]
        drawn = overlaid(pictures, np.asarray(network["weights"]))
        said.append((network["name"], drawn, network["predicted"], shades))
    return [(name, drawn, [classes[number] for number in numbers], shades) for name, drawn, numbers, shades in said]


@figures.styled
def clip_figure(clip: dict[str, Any], classes: list[str]) -> Figure:
    """A row for the pictures with the truth, then one for each network: its weights over them, and its prediction.

    pictures `[T, height, width]` or `[T, height, width, 3]` in [0, 1]; each network's weights `[T, H, W]`, shown from
    none to its largest; green where the predicted class is the true one.
    """
    pictures = np.asarray(clip["pictures"])
    rows = panels(clip, classes, pictures)
    segments, height, width = pictures.shape[:3]
    tall = 10 / segments * height / width + 0.28
    figure, axes = figures.new_figure(10.5, tall * len(rows), 1, len(rows))
    for (name, drawn, words, shades), on in zip(rows, axes, strict=True):
        image = strip(drawn)
        step = image.shape[1] / segments
        on.imshow(image, extent=(0, image.shape[1], height, 0), interpolation="nearest", aspect="auto")
        on.set_xticks((np.arange(segments) + 0.5) * step, words, fontsize=8)
        for label, shade in zip(on.get_xticklabels(), shades, strict=True):
            label.set_color(shade)
        on.set_yticks([])
        on.tick_params(length=0)
        on.spines[:].set_visible(False)
        on.grid(visible=False)
        on.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def pointing_over_seeds(result: Result) -> list[list[str]]:
    """As `pointing_rows`, of a comparison's variants, means and deviations over seeds."""
    return [
        [
            variant["name"],
            variant["config"]["model"]["guidance"],
            ATTENTIONS[name],
            *(f"{found[key]['mean']:.1f} ± {found[key]['std']:.1f}" for key in ("accuracy", "muted")),
            f"{found['chance']:.1f}",
        ]
        for variant in result["variants"]
        for name, found in (variant.get("pointing") or {}).items()
    ]


def pointing_rows(result: dict[str, Any]) -> list[list[str]]:
    """Of each network and map: how often the peak lies on the class's digit, muted too, and chance."""
    return [
        [
            network["name"],
            network["guidance"],
            ATTENTIONS[name],
            *(f"{found[key]:.1f}" for key in ("accuracy", "muted", "chance")),
        ]
        for network in result["networks"]
        for name, found in (network["pointing"] or {}).items()
    ]


HEADINGS = ("network", "guidance", "attention", "peak on the digit, %", "the same clips muted, %", "chance, %")


def write_attention_report(result: dict[str, Any], directory: Path) -> str:
    """Write figures/clip-N (SVG and PNG) and attention.md; returns the Markdown."""
    for clip in result["clips"]:
        figures.save(clip_figure(clip, result["classes"]), directory / "figures", f"clip-{clip['index']}")
    rows = pointing_rows(result)
    lines = markdown_table(HEADINGS, rows) if rows else []
    text = "\n".join([*lines, "", f"{len(result['clips'])} clips drawn: {directory / 'figures'}"]) + "\n"
    write_text(directory / "attention.md", text)
    return text
