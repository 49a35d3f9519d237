"""What `snn-cace benchmark` measured, as tables and a figure, from its JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snn_cace.files import write_text
from snn_cace.report import figures

MILLISECONDS = 1000


def milliseconds(row: dict[str, Any]) -> str:
    """Median and quartiles."""
    values = (row["seconds"], row["quartile_1"], row["quartile_3"])
    middle, low, high = (MILLISECONDS * value for value in values)
    digits = 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def markdown(result: dict[str, Any]) -> str:
    """All measurements as tables."""
    limits, environment = result["limits"], result["environment"]
    lines = [
        f"Machine: {environment['processor']}, {environment['cores']} cores, {environment['device']}, PyTorch "
        f"{environment['torch']}, {result['threads']} threads. Limits measured in this run: matrix products "
        f"{limits['matmul_flops_float32'] / 1e9:.0f} GFLOP/s in float32, {limits['matmul_flops_float64'] / 1e9:.0f} in "
        f"float64; copies {limits['copy_bytes_per_second'] / 1e9:.1f} GB/s.",
        "",
        f"Features {result['shape']}, batch {result['batch']}. Times in ms: median (quartiles). Cores: processor time "
        "over wall time.",
        "",
        "Training step",
        "",
    ]
    names = list(result["variants"])
    first = names[0]
    lines += table(
        [
            "variant",
            "ms",
            "cores",
            f"against {first}",
            "clips/s",
            "its matrix products alone, ms",
            "times that",
            "peak MB",
        ],
        [
            [
                name,
                milliseconds(row),
                f"{row['cores']:.2f}",
                f"{row['times_first']:.2f}",
                f"{row['samples_per_second']:.1f}",
                f"{MILLISECONDS * row['matmul_seconds']:.0f}",
                f"{row['times_matmul']:.2f}",
                f"{row['peak_memory_mb']:.0f}",
            ]
            for name, row in ((name, result["variants"][name]["training"]) for name in names)
        ],
    )
    lines += ["Inference", ""]
    lines += table(
        ["variant", "one clip, ms", f"against {first}", f"batch of {result['batch']}, clips/s"],
        [
            [
                name,
                milliseconds(row["latency"]),
                f"{row['latency']['times_first']:.2f}",
                f"{row['throughput']['samples_per_second']:.1f}",
            ]
            for name, row in result["variants"].items()
        ],
    )
    for key, title, unit in (
        ("against_steps", "Training step against simulation steps, ms", "S"),
        ("against_batch", "Training step against batch size, ms", "batch"),
    ):
        rows = {name: row for name, row in result[key].items() if row}
        if rows:
            numbers = list(next(iter(rows.values())))
            lines += [title, ""]
            lines += table(
                ["variant", *(f"{unit} = {number}" for number in numbers)],
                [[name, *(f"{MILLISECONDS * row[n]['seconds']:.0f}" for n in numbers)] for name, row in rows.items()],
            )
    if result.get("epochs"):
        lines += ["Epoch with data loading, by clips", ""]
        lines += table(
            ["clips", "read into memory, s", "epoch, s", "clips/s"],
            [
                [
                    number,
                    f"{row['read']['seconds']:.2f}",
                    f"{row['seconds']:.2f}",
                    f"{int(number) / row['seconds']:.0f}",
                ]
                for number, row in result["epochs"].items()
            ],
        )
    lines += [f"Temporal encoders at AVE's sizes, batch {result['encoder_batch']}, forward and backward", ""]
    lines += table(
        ["encoder", "ms", "cores"],
        [[name, milliseconds(row), f"{row['cores']:.2f}"] for name, row in result["temporal_encoders"].items()],
    )
    lines += [f"A LIF layer of {result['lif']['neurons']:,} neurons, rate readout, forward and backward", ""]
    lines += table(
        ["S", "library", "ms", "times ours", "rates equal", "GB/s of currents, rates and gradients"],
        [
            [
                steps,
                name,
                milliseconds(row),
                f"{row['times_ours']:.1f}",
                "yes" if row["equal"] else "no",
                f"{row['bytes_per_second'] / 1e9:.2f}",
            ]
            for steps, rows in result["lif"]["steps"].items()
            for name, row in rows.items()
        ],
    )
    if result["lif"]["missing"]:
        lines.append(f"Not installed, so not measured: {', '.join(result['lif']['missing'])}.")
    return "\n".join(lines) + "\n"


@figures.styled
def linear(result: dict[str, Any]) -> Figure:
    """Cost against simulation steps, batch and clips, with straight lines through the measurements."""
    panels = [("against_steps", "simulation steps"), ("against_batch", "batch size")]
    figure, axes = figures.new_figure(11, 3.6, columns=3)
    for (key, title), panel in zip(panels, axes, strict=False):
        for name, rows in result[key].items():
            draw_line(
                panel,
                list(result["variants"]).index(name),
                name,
                {int(n): MILLISECONDS * row["seconds"] for n, row in rows.items()},
            )
        panel.set_xlabel(title)
        panel.set_ylabel("training step, ms")
    draw_line(axes[2], 0, "epoch", {int(n): row["seconds"] for n, row in result.get("epochs", {}).items()})
    axes[2].set_xlabel("clips")
    axes[2].set_ylabel("epoch with data loading, s")
    figures.legend_below(figure, axes[1])
    return figure


def draw_line(panel: Any, index: int, name: str, points: dict[int, float]) -> None:
    """Measurements, and the straight line of least squares through them."""
    if len(points) < 2:
        return
    x, y = np.array(list(points)), np.array(list(points.values()))
    slope, start = np.polyfit(x, y, 1)
    panel.plot(x, y, "o", color=figures.colour(index), label=name)
    panel.plot(x, start + slope * x, color=figures.colour(index), linewidth=1)
    panel.set_ylim(0, max(panel.get_ylim()[1], 1.1 * y.max()))


def write_benchmark(result: dict[str, Any], directory: Path) -> str:
    """Write benchmark.md and the figure (SVG and PNG) into `directory`; returns the Markdown."""
    text = markdown(result)
    write_text(directory / "benchmark.md", text)
    figures.save(linear(result), directory / "figures", "linear")
    return text
