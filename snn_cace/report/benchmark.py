"""What `snn-cace benchmark` measured, as tables and a figure, from its JSON alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snn_cace.files import write_text
from snn_cace.report import figures
from snn_cace.report.conclusions import markdown_table

MILLISECONDS = 1000


def milliseconds(row: dict[str, Any]) -> str:
    """Median and quartiles."""
    values = (row["seconds"], row["quartile_1"], row["quartile_3"])
    middle, low, high = (MILLISECONDS * value for value in values)
    digits = 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    return [*markdown_table(headings, rows), ""]


def markdown(result: dict[str, Any]) -> str:
    """All measurements as tables."""
    limits, environment = result["limits"], result["environment"]
    tensor_cores = "".join(
        f", {limits[key] / 1e9:.0f} in {kind}"
        for kind in ("tf32", "bfloat16")
        if (key := f"matmul_flops_{kind}") in limits
    )
    lines = [
        f"Machine: {environment['processor']}, {environment['cores']} cores, {environment['device']}, PyTorch "
        f"{environment['torch']}, {result['threads']} threads. Limits measured in this run: matrix products "
        f"{limits['matmul_flops_float32'] / 1e9:.0f} GFLOP/s in float32 "
        f"{limits['matmul_flops_float64'] / 1e9:.0f} in float64{tensor_cores}; copies "
        f"{limits['copy_bytes_per_second'] / 1e9:.1f} GB/s.",
        "",
        f"Features {result['shape']}, batch {result['batch']}. Times in ms: median (quartiles). Cores: processor time "
        "over wall time. What a table compares took turns.",
        "",
    ]
    sections = (
        training,
        inference,
        against_numbers,
        breakdowns,
        epochs,
        reading,
        parts,
        temporal_encoders,
        lif,
        trained,
        whole_runs,
    )
    return "\n".join(lines + [line for section in sections for line in section(result)]) + "\n"


def training(result: dict[str, Any]) -> list[str]:
    first = next(iter(result["training"]))
    headings = ["variant", "ms", "cores", f"against {first}", "clips/s", "its matrix products alone, ms"]
    rows = [
        [
            name,
            milliseconds(row),
            f"{row['cores']:.2f}",
            f"{row['times_first']:.2f}",
            f"{row['samples_per_second']:.1f}",
            *beside_products(row),
            f"{row['peak_memory_mb']:.0f}",
        ]
        for name, row in result["training"].items()
    ]
    return ["Training step", "", *table([*headings, "times that", "peak MB"], rows)]


def trained(result: dict[str, Any]) -> list[str]:
    if "trained" not in result:
        return []
    found = result["trained"]
    rows = []
    for name, kinds in found["networks"].items():
        for kind, row in kinds.items():
            first, last = row["epoch_seconds"][0], row["epoch_seconds"][-1]
            most = ", ".join(f"{where} {100 * share:.2g} %" for where, share in list(row["denormals"].items())[:2])
            ratios = (f"{row[part]['ratio']:.2f}" for part in ("training", "inference"))
            rows.append([name, kind, f"{first:.2f}", f"{last:.2f}", f"{last / first:.2f}", *ratios, most or "none"])
    headings = ["variant", "denormals", "first epoch, s", "last epoch, s", "ratio"]
    headings += ["step: trained against fresh", "inference: trained against fresh", "most denormals"]
    clips = (
        f"the clips of {found['directory']}" if found["directory"] else f"{found['clips']} correlated, rectified clips"
    )
    text = (
        f"Networks trained for {found['epochs']} epochs at batch {found['batch']} with the contrast on, on {clips}; "
        "trained and fresh networks then took turns on the same batch."
    )
    return [text, "", *table(headings, rows)]


def beside_products(row: dict[str, Any]) -> list[str]:
    """How long the matrix products alone take, and how many times that it took."""
    alone = MILLISECONDS * row["matmul_seconds"]
    return [f"{alone:.3g}" if alone < 100 else f"{alone:.0f}", f"{row['times_matmul']:.2f}"]


def inference(result: dict[str, Any]) -> list[str]:
    first, size = next(iter(result["inference"])), result["batch"]
    headings = ["variant", "one clip, ms", f"against {first}", "times its matrix products"]
    headings += [f"batch of {size}, clips/s", "times its matrix products"]
    rows = [
        [
            name,
            milliseconds(row["latency"]),
            f"{row['latency']['times_first']:.2f}",
            f"{row['latency']['times_matmul']:.2f}",
            f"{row['throughput']['samples_per_second']:.1f}",
            f"{row['throughput']['times_matmul']:.2f}",
        ]
        for name, row in result["inference"].items()
    ]
    return ["Inference", "", *table(headings, rows)]


def against_numbers(result: dict[str, Any]) -> list[str]:
    lines = []
    for key, title, unit in (
        ("against_steps", f"Against simulation steps S, batch {result['batch']}", "S"),
        ("against_batch", "Against batch size", "batch"),
    ):
        rows = [
            [
                name,
                number,
                milliseconds(row),
                f"{row['times_matmul']:.2f}",
                f"{row['peak_memory_mb']:.0f}",
                milliseconds(row["latency"]),
                f"{row['throughput']['samples_per_second']:.1f}",
                f"{row['throughput']['times_matmul']:.2f}",
            ]
            for name, by_number in result[key].items()
            for number, row in by_number.items()
        ]
        headings = ["variant", unit, "training step, ms", "times its matrix products", "peak MB"]
        headings += ["inference of one clip, ms", "of a batch, clips/s", "times its matrix products"]
        lines += [title, "", *table(headings, rows)] if rows else []
    return lines


def breakdowns(result: dict[str, Any]) -> list[str]:
    """Every step and inference that was taken apart, by kind of work."""
    measured = result.get("breakdowns", {})
    rows = [
        [name, f"{MILLISECONDS * row['seconds']:.1f}", f"{MILLISECONDS * row['matmul_seconds']:.1f}"]
        + [f"{MILLISECONDS * seconds:.1f}" for seconds in row["breakdown"].values()]
        for name, row in measured.items()
    ]
    kinds = list(next(iter(measured.values()))["breakdown"]) if measured else []
    headings = ["what", "all, ms", "its products at the machine's rate", *kinds]
    return ["Where the time goes, ms", "", *table(headings, rows)] if rows else []


def epochs(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            number,
            f"{row['read_seconds']:.2f}",
            f"{row['seconds']:.2f}",
            f"{row['samples_per_second']:.1f}",
            f"{row['times_steps']:.2f}",
            f"{row['peak_memory_mb']:.0f}",
        ]
        for name, by_number in result["epochs"].items()
        for number, row in by_number.items()
    ]
    headings = ["variant", "clips", "read into memory, s", "epoch, s", "clips/s", "times its steps alone", "peak MB"]
    return ["Epoch with data loading, by clips", "", *table(headings, rows)] if rows else []


def reading(result: dict[str, Any]) -> list[str]:
    rows = [
        [chunking, place, f"{row['read_seconds']:.2f}", f"{row['epoch_seconds']:.3f}"]
        for chunking, places in result["reading"].items()
        for place, row in places.items()
    ]
    headings = ["file", "kept in", "read once, s", "each epoch, s"]
    title = "Reading alone, clips in random order, by how the file is chunked and where clips are kept"
    return [title, "", *table(headings, rows)] if rows else []


def parts(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            milliseconds(row["plain"]),
            milliseconds(row["ours"]),
            f"{row['gain']:.2f}",
            f"{MILLISECONDS * row['least_seconds']:.3g}",
            f"{row['times_least']:.2f}",
        ]
        for name, row in result["parts"].items()
    ]
    title = (
        "What each speed-up gains, forward and backward. At least: what its matrix products take at their rate, or its "
        "inputs, outputs and their gradients at the rate of a copy in main memory (a cache may beat it), whichever is "
        "longer"
    )
    headings = ["part", "PyTorch's way, ms", "ours, ms", "times faster", "at least, ms", "ours, times that"]
    return [title, "", *table(headings, rows)]


def temporal_encoders(result: dict[str, Any]) -> list[str]:
    rows = [
        [name, milliseconds(row), f"{row['cores']:.2f}", *beside_products(row)]
        for name, row in result["temporal_encoders"].items()
    ]
    title = f"Temporal encoders at AVE's sizes, batch {result['encoder_batch']}, forward and backward"
    return [title, "", *table(["encoder", "ms", "cores", "its matrix products alone, ms", "times that"], rows)]


def lif(result: dict[str, Any]) -> list[str]:
    rows = [
        [steps, name, milliseconds(row), f"{row['times_ours']:.1f}", "yes" if row["equal"] else "no", *of_a_copy(row)]
        for steps, found in result["lif"]["steps"].items()
        for name, row in found.items()
    ]
    headings = [
        "S",
        "library",
        "ms",
        "times ours",
        "rates equal",
        "GB/s of currents, rates and gradients",
        "of a copy's",
    ]
    lines = [f"A LIF layer of {result['lif']['neurons']:,} neurons, rate readout, forward and backward", ""]
    lines += table(headings, rows)
    large = result["lif"]["large"]
    rows = [[steps, milliseconds(row), *of_a_copy(row)] for steps, row in large["steps"].items()]
    lines += [f"Ours alone on {large['neurons']:,} neurons, too many for any cache", ""]
    lines += table(["S", "ms", *headings[-2:]], rows)
    if result["lif"]["missing"]:
        lines += [f"Not installed, so not measured: {', '.join(result['lif']['missing'])}.", ""]
    return lines


def of_a_copy(row: dict[str, Any]) -> list[str]:
    return [f"{row['bytes_per_second'] / 1e9:.2f}", f"{100 * row['share_of_copy']:.0f} %"]


def whole_runs(result: dict[str, Any]) -> list[str]:
    if "whole_runs" not in result:
        return []
    found = result["whole_runs"]
    first = next(iter(found["runs"].values()))["seconds"]
    rows = [
        [
            name,
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / first:.2f}",
            f"{row['seconds_with_reading_and_testing']:.1f}",
            f"{row['peak_memory_mb']:.0f}",
        ]
        for name, row in found["runs"].items()
    ]
    headings = [
        "variant",
        "training, s",
        f"against {next(iter(found['runs']))}",
        "with reading and testing, s",
        "peak MB",
    ]
    title = f"{found['epochs']} epochs of training on {found['clips']} clips of AVE's layout, evaluated at every epoch"
    return [title, "", *table(headings, rows)]


@figures.styled
def linear(result: dict[str, Any]) -> Figure:
    """Cost against simulation steps, batch and clips, with straight lines through the measurements."""
    panels = (
        ("against_steps", "simulation steps", "training step, ms", MILLISECONDS),
        ("against_batch", "batch size", "training step, ms", MILLISECONDS),
        ("epochs", "clips", "epoch with data loading, s", 1),
    )
    figure, axes = figures.new_figure(11, 3.6, columns=3)
    for (key, against, measured, per_second), panel in zip(panels, axes, strict=True):
        for name, rows in result[key].items():
            points = {int(number): per_second * row["seconds"] for number, row in rows.items()}
            draw_line(panel, list(result["training"]).index(name), name, points)
        panel.set_xlabel(against)
        panel.set_ylabel(measured)
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
