"""The comparison as a Markdown table and as a self-contained HTML page, from comparison.json alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from snn_cace import yaml_text
from snn_cace.config import NETWORK_NAMES, dotted
from snn_cace.errors import InputError
from snn_cace.files import write_text
from snn_cace.report import attention, figures, trains, tuning
from snn_cace.report.conclusions import (
    MODEL_WORDS,
    accuracy_words,
    against_baseline,
    bits_of,
    break_even_words,
    cautions,
    change,
    counterpart,
    counterparts,
    fewest_seeds,
    limits,
    markdown_table,
    notes,
    percent_range,
    sentences,
)

RESULT_HEADINGS = (
    "variant",
    "test accuracy, %",
    "difference, points",
    "energy, whole network",
    "what spikes, against dense",
    "against bit-matched dense",
    "cheaper than dense",
    "latency, ms",
)
HEADINGS = (
    "variant",
    "kind",
    "test accuracy, %",
    "parameters",
    "MACs",
    "ACs",
    "SynOps",
    "energy, µJ: arithmetic",
    "with traffic",
    "by memory size",
    "what spikes, arithmetic",
    "firing rate",
    "latency, ms",
    "training, s",
)
MODULE_HEADINGS = (
    "module",
    "kind",
    "slot",
    "parameters",
    "state",
    "MACs",
    "ACs",
    "SynOps",
    "neuron updates",
    "transcendental",
    "comparisons",
    "firing rate",
    "energy, µJ",
)
LOCALISATION_HEADINGS = (
    "variant",
    "segments called an event, %",
    "that are one, %",
    "of events called one, %",
    "of background called background, %",
    "class right, % of events called one",
)
RENAMED = {
    "specials": "transcendental",
    "opponent": "bit_matched",
    "dense_opponent": "dense_baseline",
    "complaints": "warnings",
}
"""What comparison.json called things before."""
COUNT_WORDS = {"event_driven": "event-driven", "conservative": "conservative"}
NEEDED = ("variants", "tests", "runs", "prices", "environment", "energy_models")


def count(value: float) -> str:
    """An operation count with a unit: 885.4 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def microjoules(millijoules: float) -> str:
    return f"{1000 * millijoules:.3g}" if 1000 * millijoules < 1000 else f"{1000 * millijoules:.0f}"


def by_count(variant: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A variant's operations and energies by each count."""
    return {"event_driven": variant["event_driven"], "conservative": variant}


def both(cell: Callable[[dict[str, Any]], str], variant: dict[str, Any]) -> str:
    """A cell event-driven, and conservative in brackets where that differs."""
    return in_both(by_count(variant), cell)


def in_both(parts: dict[str, dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> str:
    """As `both`, of parts by count."""
    event_driven, conservative = (cell(part) for part in parts.values())
    return event_driven if event_driven == conservative else f"{event_driven} ({conservative})"


def table_rows(result: dict[str, Any]) -> list[list[str]]:
    """One row of text per variant, in the order of `HEADINGS`; variants without a finished run have one too."""
    rows = []
    for variant in result["variants"]:
        rate = variant["firing_rate"]["mean"]
        operations = (both(partial(operation_cell, name=name), variant) for name in ("macs", "acs", "synops"))
        energies = (both(partial(energy_cell, model=model), variant) for model in ("compute", "memory", "sram"))
        rows.append(
            [
                variant["name"],
                variant["kind"].upper(),
                accuracy_text(variant),
                count(variant["parameters"]),
                *operations,
                *energies,
                both(lambda counted: microjoules(counted["spiking_blocks"]["energy_mj"]["compute"]), variant),
                "-" if rate is None else f"{rate:.3f}",
                latency_text(variant),
                f"{variant['train_seconds']:.0f}",
            ]
        )
    for name in failed_only(result):
        rows.append([name, "failed", *["-"] * (len(HEADINGS) - 2)])
    return rows


def result_headings(result: dict[str, Any]) -> list[str]:
    """`RESULT_HEADINGS`, with one more where figures were published."""
    published = any(variant.get("published") for variant in result["variants"])
    return [*RESULT_HEADINGS, *["published, %"] * published]


def result_rows(result: dict[str, Any]) -> list[list[str]]:
    """One row of text per variant, in the order of `result_headings`: accuracy, energy and time against the ANN.

    Ranges are from the lowest to the highest energy model. A cell that does not apply is "-".
    """
    models, tests = result["energy_models"], against_baseline(result)
    headings = result_headings(result)
    rows = []
    for variant in result["variants"]:
        test, dense = tests.get(variant["name"]), counterpart(result, variant)

        def range_of(counted: dict[str, Any]) -> str:
            low, high = (microjoules(pick(counted["energy_mj"][model] for model in models)) for pick in (min, max))
            return f"{low} to {high} µJ"

        row = [variant["name"], accuracy_text(variant), "-", both(range_of, variant), *["-"] * 3, latency_text(variant)]
        if test:
            row[2] = f"{test['difference']:+.2f} ({test['ci95'][0]:+.2f} to {test['ci95'][1]:+.2f})"
        if dense and variant is not dense:
            theirs = dense["energy_mj"]
            row[3] = both(partial(whole_network_cell, theirs=theirs, models=models), variant)
            row[7] += f", {variant['latency_ms'] / dense['latency_ms']:.2f} times"
        if dense and variant["kind"] == "snn":
            row[4] = both(partial(blocks_cell, models=models), variant)
            row[5] = f"{both(partial(bit_matched_cell, models=models), variant)}, {bits_of(variant['bit_matched'])}"
            row[6] = both(lambda counted: break_even_words(counted, models), variant)
            row[6] += f"; fires at {variant['firing_rate']['mean']:.3f}"
        if len(headings) > len(RESULT_HEADINGS):
            row.append(f"{variant['published']['accuracy']}" if variant.get("published") else "-")
        rows.append(row)
    return rows + [[name, "failed", *["-"] * (len(headings) - 2)] for name in failed_only(result)]


def operation_cell(counted: dict[str, Any], name: str) -> str:
    return count(counted[name])


def energy_cell(counted: dict[str, Any], model: str) -> str:
    return microjoules(counted["energy_mj"][model])


def whole_network_cell(counted: dict[str, Any], theirs: dict[str, float], models: list[str]) -> str:
    return percent_range(counted["energy_mj"], theirs, models)


def blocks_cell(counted: dict[str, Any], models: list[str]) -> str:
    return percent_range(counted["spiking_blocks"]["energy_mj"], counted["replaced_blocks_energy_mj"], models)


def bit_matched_cell(counted: dict[str, Any], models: list[str]) -> str:
    return percent_range(counted["spiking_blocks"]["energy_mj"], counted["bit_matched"]["blocks_energy_mj"], models)


def accuracy_text(variant: dict[str, Any]) -> str:
    accuracy = variant["test_segment_accuracy"]
    return f"{accuracy['mean']:.2f} ± {accuracy['std']:.2f}"


def latency_text(variant: dict[str, Any]) -> str:
    return f"{variant['latency_ms']:.1f}"


def failed_only(result: dict[str, Any]) -> list[str]:
    """Variants without a finished run."""
    present = {variant["name"] for variant in result["variants"]}
    return [name for name in dict.fromkeys(failure["variant"] for failure in result["failed"]) if name not in present]


def test_lines(result: dict[str, Any]) -> list[str]:
    seeds = fewest_seeds(result)
    return [f"{accuracy_words(test, seeds)}. Method: {test['method']}." for test in result["tests"]]


def summary(result: dict[str, Any]) -> str:
    """What the command line prints: the result table, what must not be overlooked, and a sentence for each variant."""
    lines = markdown_table(result_headings(result), result_rows(result))
    return "\n".join([*lines, "", *(f"- {line}" for line in cautions(result) + sentences(result))]) + "\n"


def markdown(result: dict[str, Any]) -> str:
    """The summary, what bounds the saving, operations and energies, and how they were made."""
    lines = [f"- {line}" for line in limits(result)]
    lines += ["", *markdown_table(HEADINGS, table_rows(result)), ""]
    searched = tuning.tuning_rows(result)
    if searched:
        lines += [*tuning.tuning_notes(result), "", *markdown_table(tuning.HEADINGS, searched), ""]
    lines += ["What is called an event:", "", *markdown_table(LOCALISATION_HEADINGS, localisation_rows(result)), ""]
    pointing = attention.pointing_over_seeds(result)
    if pointing:
        lines += ["Where guidance looks:", "", *markdown_table(attention.HEADINGS, pointing), ""]
    return summary(result) + "\n".join(lines + [f"- {line}" for line in notes(result)]) + "\n"


def module_rows(variant: dict[str, Any]) -> list[list[str]]:
    """One row of text per module, in the order of `MODULE_HEADINGS`, and their sum."""
    rows = []
    counted = by_count(variant)
    conservative = {module["name"]: module for module in counted["conservative"]["modules"]}
    for module in counted["event_driven"]["modules"]:
        rate = module["firing_rate"]
        same = {"event_driven": module, "conservative": conservative[module["name"]]}
        rows.append(
            [
                module["name"],
                module["kind"],
                module["slot"] or "",
                count(module["parameters"]),
                count(module["state"]),
                *(in_both(same, partial(operation_cell, name=name)) for name in ("macs", "acs", "synops")),
                *(count(module[name]) for name in ("neuron_updates", "transcendental", "comparisons")),
                "" if rate is None else f"{rate:.3f}",
                in_both(same, partial(energy_cell, model="compute")),
            ]
        )
    total = counted["event_driven"]["operations"]
    rows.append(
        [
            "sum",
            "",
            "",
            count(variant["parameters"]),
            count(variant["state_bytes"] / 4),
            *(both(partial(operation_cell, name=name), variant) for name in ("macs", "acs", "synops")),
            *(count(total[name]) for name in ("neuron_updates", "transcendental", "comparisons")),
            "",
            both(partial(energy_cell, model="compute"), variant),
        ]
    )
    return rows


def localisation_rows(result: dict[str, Any]) -> list[list[str]]:
    """What each variant calls an event, in the order of `LOCALISATION_HEADINGS`, from its confusion over all seeds."""
    rows = []
    for variant in result["variants"]:
        counts = variant["confusion"]
        events, background = counts[:-1], counts[-1]
        segments, of_events = sum(map(sum, counts)), sum(map(sum, events))
        found = of_events - sum(row[-1] for row in events)
        false, right = sum(background[:-1]), sum(row[place] for place, row in enumerate(events))
        shares = [
            (found + false, segments),
            (of_events, segments),
            (found, of_events),
            (background[-1], sum(background)),
            (right, found),
        ]
        rows.append([variant["name"], *(f"{100 * part / whole:.1f}" if whole else "-" for part, whole in shares)])
    return rows


def break_even_rows(result: dict[str, Any]) -> list[list[str]]:
    """Measured firing rate, and where what spikes stops paying off, by count, model and baseline."""
    rows = []
    for variant in result["variants"]:
        for name, counted in distinct_counts(variant):
            found = counted.get("break_even")
            if not found:
                continue
            for model in result["energy_models"]:
                row = [variant["name"], name, MODEL_WORDS.get(model, model), f"{variant['firing_rate']['mean']:.3f}"]
                for baseline in ("dense", "bit_matched"):
                    point = found["points"][f"{model}/{baseline}"]
                    below = "" if point["rate"] is None else f"below {point['rate']:.3f}"
                    row.append({"never": "never pays", "always": "at any rate", "below": below}[point["verdict"]])
                rows.append(row)
    return rows


def distinct_counts(variant: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A variant's counts with their names; one, called either, where they are the same."""
    counted = by_count(variant)
    if variant["kind"] == "ann" or counted["event_driven"]["energy_mj"] == counted["conservative"]["energy_mj"]:
        return [("either", counted["conservative"])]
    return [(COUNT_WORDS[name], part) for name, part in counted.items()]


def energy_rows(result: dict[str, Any]) -> list[list[str]]:
    """Energy of each spiking variant against the ANN, by count and model: whole network, what spikes, bit-matched."""
    rows = []
    for variant in result["variants"]:
        dense = counterpart(result, variant)
        if dense is None or variant["kind"] != "snn":
            continue
        for name, counted in distinct_counts(variant):
            blocks, whole = counted["spiking_blocks"]["energy_mj"], counted["bit_matched"]["energy_mj"]
            rows += [
                [
                    variant["name"],
                    name,
                    MODEL_WORDS.get(model, model),
                    microjoules(counted["energy_mj"][model]),
                    change(counted["energy_mj"][model], dense["energy_mj"][model]),
                    change(counted["energy_mj"][model], whole[model]),
                    microjoules(blocks[model]),
                    change(blocks[model], counted["replaced_blocks_energy_mj"][model]),
                    change(blocks[model], counted["bit_matched"]["blocks_energy_mj"][model]),
                ]
                for model in result["energy_models"]
            ]
    return rows


def other_rows(result: dict[str, Any]) -> list[list[str]]:
    """What SpikingJelly's energy models and NeuroBench's metrics say of each variant, and what they leave out."""
    rows = []
    for variant in result["variants"]:
        found = variant.get("others")
        if not found:
            continue
        row = [variant["name"]]
        for name in ("simple", "lemaire", "neuromc"):
            figure = found["spikingjelly"][name]
            addressing = figure["energy_mj"].get("addressing")
            total = microjoules(sum(figure["energy_mj"].values()))
            row.append("refused" if figure["refused"] else total)
            row += [microjoules(addressing)] if addressing is not None else []
        bench = found["neurobench"]
        sparsity = "-" if not bench or not bench["activation_sparsity"] else share_range(bench["activation_sparsity"])
        row += [count(bench["membrane_updates"]), f"{bench['connection_sparsity']:.3f}"] if bench else ["-", "-"]
        rows.append([*row, sparsity])
    return rows


def share_range(shares: dict[str, float]) -> str:
    return f"{min(shares.values()):.3f} to {max(shares.values()):.3f}"


def left_out(result: dict[str, Any]) -> list[str]:
    """What the other libraries did not count, each said once, and of each that refuses one reason."""
    said: dict[str, str] = {}
    for variant in result["variants"]:
        for name, figure in (variant.get("others") or {"spikingjelly": {}})["spikingjelly"].items():
            said |= {line: line for line in figure["left_out"]}
            if figure["refused"]:
                said.setdefault(name, f"{figure['refused']}.")
    return list(said.values())


def health_rows(variant: dict[str, Any]) -> list[list[str]]:
    """Of each spiking layer: rate, distribution, dead and saturated shares, time to the first spike."""
    rows = []
    for name, layer in variant.get("layers", {}).items():
        quantiles, first = layer["neuron_rate_quantiles"], layer["mean_time_to_first_spike"]
        rows.append(
            [
                figures.short_layer(name),
                f"{layer['firing_rate']:.3f}",
                f"{quantiles['0.25']:.3f} to {quantiles['0.75']:.3f}",
                f"{100 * layer['dead']:.1f} %",
                f"{100 * layer['saturated']:.1f} %",
                f"{100 * layer['activation_sparsity']:.1f} %",
                "never" if first is None else f"{first:.2f}",
            ]
        )
    return rows


def config_differences(variants: list[dict[str, Any]]) -> list[list[str]]:
    """Keys that are not the same in all variants, with each one's value."""
    configs = [dotted(variant["config"]) for variant in variants]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]
    return [[key, *(str(config.get(key, "-")) for config in configs)] for key in differing if key != "name"]


def draw(result: dict[str, Any]) -> dict[str, Any]:
    """Every figure of the page by name; rasters by variant."""
    variants, names = result["variants"], [variant["name"] for variant in result["variants"]]
    dense = [variant for variant in variants if variant["kind"] == "ann"]
    return {
        "accuracy": figures.accuracy_per_seed(variants),
        "accuracy-energy": figures.accuracy_energy(result),
        "energy-shares": figures.energy_shares(result),
        "verdicts": figures.verdicts(result),
        "steps": figures.against_steps(variants, dense),
        "firing-rates": figures.firing_rates(variants),
        "rates-in-time": figures.rates_in_time(variants),
        "classes": figures.class_differences(variants, result["classes"], result["baseline"]),
        "confusion": figures.confusion(variants, result["classes"]),
        "curves": figures.curves(result["runs"], names),
        "information": trains.information(variants),
        "tuning": tuning.expected_best(result),
        "tuning-front": tuning.front(result),
        **{
            f"attention-{place}": attention.clip_figure(clip, result["classes"])
            for place, clip in enumerate((result.get("attention") or {"clips": []})["clips"])
        },
        **{
            f"raster-{variant['name']}": figures.raster(variant["raster"], result["classes"])
            for variant in variants
            if variant.get("raster")
        },
    }


def read_result(source: Path) -> dict[str, Any]:
    """A comparison.json.

    Raises:
        InputError: missing, not JSON, or without what a report needs.
    """
    if not source.is_file():
        raise InputError(f"no file {source}; it is what snn-cace compare writes")
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is not JSON (line {error.lineno}): {error.msg}; compare again") from None
    missing = [key for key in NEEDED if not isinstance(result, dict) or key not in result]
    if missing:
        raise InputError(f"{source} has no '{missing[0]}': it is not a comparison of this version; compare again")
    return in_present_terms(result)


def in_present_terms(result: dict[str, Any]) -> dict[str, Any]:
    """A comparison of any version with the names of this one; without an event-driven count, the other stands in."""
    renamed = with_names(result)
    for variant in renamed["variants"]:
        if "event_driven" not in variant:
            variant["event_driven"] = dict(variant)
            variant["readers"] = []
    return renamed


def with_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {RENAMED.get(key, key): with_names(part) for key, part in value.items()}
    return [with_names(part) for part in value] if isinstance(value, list) else value


def write_report(source: Path, directory: Path) -> str:
    """Write report.html, comparison.md and the figures (SVG and PNG) of the comparison.json at `source`, from which
    alone they are made, into `directory`; the page needs no other file and no network. Returns its summary.
    """
    from jinja2 import Environment, StrictUndefined

    result = read_result(source)
    drawn = {
        name: figures.save(figure, directory / "figures", name)
        for name, figure in draw(result).items()
        if figure is not None
    }
    template = (resources.files("snn_cace.report") / "comparison.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    page = environment.from_string(template).render(
        result=result,
        dense=[variant["name"] for variant in counterparts(result)],
        networks=", ".join(
            dict.fromkeys(NETWORK_NAMES[variant.get("network", "cace")] for variant in result["variants"])
        ),
        cautions=cautions(result),
        sentences=sentences(result),
        limits=limits(result),
        result_headings=result_headings(result),
        result_rows=result_rows(result),
        notes=notes(result),
        headings=HEADINGS,
        rows=table_rows(result),
        tests=test_lines(result),
        energies=energy_rows(result),
        break_even=break_even_rows(result),
        others=other_rows(result),
        left_out=left_out(result),
        module_headings=MODULE_HEADINGS,
        modules={variant["name"]: module_rows(variant) for variant in result["variants"]},
        health={v["name"]: health_rows(v) for v in result["variants"] if v.get("layers")},
        train_headings=trains.HEADINGS,
        trains={v["name"]: rows for v in result["variants"] if (rows := trains.train_rows(v))},
        tuning_headings=tuning.HEADINGS,
        tuning_rows=tuning.tuning_rows(result),
        tuning_notes=tuning.tuning_notes(result),
        localisation_headings=LOCALISATION_HEADINGS,
        localisation=localisation_rows(result),
        pointing_headings=attention.HEADINGS,
        pointing=attention.pointing_over_seeds(result),
        differences=config_differences(result["variants"]),
        configs={v["name"]: yaml_text.dump(v["config"]) for v in result["variants"]},
        figures=drawn,
    )
    write_text(directory / "report.html", page)
    write_text(directory / "comparison.md", markdown(result))
    return summary(result)
