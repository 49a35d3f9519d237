"""The comparison as a Markdown table and as a self-contained HTML page, from comparison.json alone."""

from __future__ import annotations

import csv
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

from snn_cace import yaml_text
from snn_cace.comparison.front import EQUAL_POINTS
from snn_cace.comparison.schema import VERSION, Counted, Result, Variant
from snn_cace.config import dotted
from snn_cace.errors import InputError
from snn_cace.files import write_text
from snn_cace.networks import title_of
from snn_cace.report import attention, figures, tuning
from snn_cace.report.conclusions import (
    RIVAL_HEADINGS,
    accuracy_words,
    against_baseline,
    attribution_of,
    cautions,
    change,
    counterpart,
    counterparts,
    energy_at_best,
    equal_accuracy_rows,
    fewest_seeds,
    in_order_of_steps,
    limits,
    markdown_table,
    model_heading,
    model_words,
    notes,
    sentences,
    share_of_dense,
    variant_named,
)
from snn_cace.report.interactive import chain_verdict, page_data

ACTIVITY_HEADINGS = ("variant", "kind", "parameters", "firing rate", "zeros in activations, %", "training, s")
MODULE_HEADINGS = (
    "module",
    "kind",
    "slot",
    "parameters",
    "state",
    "bits",
    "MACs",
    "MACs, event-driven",
    "MACs, zeros skipped",
    "MACs of few bits, zeros skipped",
    "SynOps",
    "neuron updates",
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
COUNT_WORDS = {"event_driven": "event-driven", "conservative": "conservative", "zero_skipping": "zero-skipping"}
NEEDED = ("variants", "tests", "runs", "prices", "environment", "energy_models")


def count(value: float) -> str:
    """An operation count with a unit: 885.4 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def microjoules(millijoules: float) -> str:
    return f"{1000 * millijoules:.3g}" if 1000 * millijoules < 1000 else f"{1000 * millijoules:.0f}"


def shown_models(result: Result) -> list[str]:
    """The energy models of the tables, and behind the first with traffic the same with weights read once a segment."""
    reused = [model for model in result.get("reusing_models", []) if model.endswith("/segment")][:1]
    pairs = ((model, f"{model}/segment") for model in result["energy_models"])
    return [name for model, again in pairs for name in (model, again) if name == model or name in reused]


def energy_headings(unit: str, models: list[str]) -> list[str]:
    """A column's heading for each of these models; the first says what the numbers are."""
    first, *others = map(model_heading, models)
    return [f"energy, {unit}: {first}", *others]


def count_headings(result: Result) -> list[str]:
    models = energy_headings("µJ", result["energy_models"])
    compared = f"compared blocks, {model_heading(result['energy_models'][0])}"
    return ["variant", "count", "MACs", "MACs of few bits", "ACs", "SynOps", *models, compared]


def attribution_headings(result: Result) -> list[str]:
    models = energy_headings("% of the ANN's", shown_models(result))
    return ["variant", "step", "what it adds", "accuracy, points", "from", "to", "p", *models]


def table_rows(result: Result) -> list[list[str]]:
    """A row per variant and count, in the order of `count_headings`; counts that say the same stand once."""
    models = result["energy_models"]
    rows = []
    for variant in result["variants"]:
        for name, counted in distinct_counts(variant):
            spent = counted["operations"]
            rows.append(
                [
                    variant["name"],
                    name,
                    *(count(spent.get(key, 0.0)) for key in ("macs", "narrow_macs", "acs", "synops")),
                    *(microjoules(counted["energy_mj"][model]) for model in models),
                    microjoules(counted["spiking_blocks"]["energy_mj"][models[0]]),
                ]
            )
    return rows


def activity_rows(result: Result) -> list[list[str]]:
    """One row of text per variant, in the order of `ACTIVITY_HEADINGS`."""
    rows = []
    for variant in result["variants"]:
        rate = variant["firing_rate"]["mean"]
        rows.append(
            [
                variant["name"],
                variant["kind"],
                count(variant["parameters"]),
                "-" if rate is None else f"{rate:.3f}",
                f"{100 * variant['activation_sparsity']:.1f}",
                f"{variant['train_seconds']:.0f}",
            ]
        )
    return rows


def result_headings(result: Result) -> list[str]:
    """Accuracy, energy and latency of a variant, and what was published where something was."""
    published = any(variant.get("published") for variant in result["variants"])
    models = energy_headings("µJ", shown_models(result))
    return ["variant", "test accuracy, %", "± over seeds", *models, "latency, ms", *["published, %"] * published]


def result_rows(result: Result) -> list[list[str]]:
    """One row of text per variant, in the order of `result_headings`, each at its best count; "-" where a comparison
    of an older version does not say.
    """
    headings, rows = result_headings(result), []
    for variant in result["variants"]:
        accuracy, best = variant["test_segment_accuracy"], variant["best"]
        row = [variant["name"], f"{accuracy['mean']:.2f}", f"{accuracy['std']:.2f}"]
        row += [microjoules(best[model]["mean"]) if model in best else "-" for model in shown_models(result)]
        row.append(f"{variant['latency_ms']:.1f}")
        if headings[-1] == "published, %":
            known = variant.get("published")
            row.append(f"{known['accuracy']}" if known else "-")
        rows.append(row)
    return rows + [[name, "failed", *["-"] * (len(headings) - 2)] for name in failed_only(result)]


def attribution_rows(result: Result) -> list[list[str]]:
    """A row per link of every chain, and one for the whole, in the order of `attribution_headings`."""
    rows = []
    for found in result["attribution"]:
        for link in [*found["links"], found["whole"]]:
            test = link["accuracy"]
            rows.append(
                [
                    found["variant"],
                    f"{link['from']} to {link['to']}",
                    link["part"],
                    f"{test['difference']:+.2f}",
                    *(f"{bound:+.2f}" for bound in test["ci95"]),
                    f"{test['p_holm']:.3f}",
                    *(f"{share_of_dense(result, found, link, model):+.1f}" for model in shown_models(result)),
                ]
            )
    return rows


def failed_only(result: Result) -> list[str]:
    """Variants without a finished run."""
    present = {variant["name"] for variant in result["variants"]}
    return [name for name in dict.fromkeys(failure["variant"] for failure in result["failed"]) if name not in present]


def test_lines(result: Result) -> list[str]:
    seeds = fewest_seeds(result)
    return [f"{accuracy_words(test, seeds)}. Method: {test['method']}." for test in result["tests"]]


EQUAL_ACCURACY = (
    "Energy at equal accuracy: the spiking network that saves most, against the cheapest network without spikes that "
    f"is at most {EQUAL_POINTS} points less accurate, each at its best count. Points are its accuracy less "
    f"that network's; where they are below -{EQUAL_POINTS}, what it saves is paid for in accuracy."
)
SUMMARY_HEADINGS = (
    "network",
    "what it adds",
    "test accuracy, %",
    "points, from the row above (95 % interval)",
    "energy, µJ",
    "of the ANN's, %",
    "latency, ms",
)


def summary_rows(result: Result) -> list[list[str]]:
    """A row per network in the order of `SUMMARY_HEADINGS`, those of a chain in its order: each is a step from the row
    above. Energy by the first model, each network at its best count.
    """
    steps = {link["to"]: link for found in result["attribution"] for link in found["links"]}
    model, rows = result["energy_models"][0], list[list[str]]()
    for variant in in_order_of_steps(result):
        name, step = variant["name"], steps.get(variant["name"])
        test = step["accuracy"] if step else against_baseline(result).get(name)
        points = "-" if test is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(test["difference"], *test["ci95"])
        dense, spent = counterpart(result, variant), variant["best"][model]["mean"]
        share = "-" if dense is None else f"{100 * spent / dense['best'][model]['mean']:.1f}"
        accuracy = f"{variant['test_segment_accuracy']['mean']:.2f}"
        part, latency = "-" if test is None else f"to {result['baseline']}", f"{variant['latency_ms']:.1f}"
        if step is not None:  # another chain's first step is from the ANN, not from the row above
            part = step["part"] if rows[-1][0] == step["from"] else f"{step['part']}, from {step['from']}"
        rows.append([name, part, accuracy, points, microjoules(spent), share, latency])
    return rows + [[name, "failed", *["-"] * (len(SUMMARY_HEADINGS) - 2)] for name in failed_only(result)]


def summary(result: Result) -> str:
    """What the command line prints: one table, what must not be overlooked, and what may be concluded."""
    lines = markdown_table(SUMMARY_HEADINGS, summary_rows(result))
    return "\n".join([*lines, "", *(f"- {line}" for line in cautions(result) + sentences(result))]) + "\n"


def markdown(result: Result) -> str:
    """The summary, what bounds the saving, and how it was made; report.html has all else."""
    searched, rivals = tuning.tuning_rows(result), equal_accuracy_rows(result)
    lines = ["", EQUAL_ACCURACY, "", *markdown_table(RIVAL_HEADINGS, rivals), ""] if rivals else []
    lines += [f"- {line}" for line in limits(result)]
    if searched:
        lines += ["", *tuning.tuning_notes(result), "", *markdown_table(tuning.HEADINGS, searched), ""]
    return summary(result) + "\n".join(lines + [f"- {line}" for line in notes(result)]) + "\n"


def module_rows(variant: Variant) -> list[list[str]]:
    """One row of text per module, in the order of `MODULE_HEADINGS`, and their sum; energy by arithmetic alone, zeros
    skipped where the comparison counts so.
    """
    counts = variant["counts"]
    best = counts.get("zero_skipping", counts["event_driven"])
    by_name = {
        name: {module["name"]: module for module in counted["modules"]}
        for name, counted in (*counts.items(), ("best", best))
    }
    rows = []
    for name, module in by_name["conservative"].items():
        event_driven, skipped = by_name["event_driven"].get(name, module), by_name["best"].get(name, module)
        rate = module["firing_rate"]
        rows.append(
            [
                name,
                module["kind"],
                module["slot"] or "",
                count(module["parameters"]),
                count(module["state"]),
                str(module.get("bits", 32)),
                *(count(part["macs"]) for part in (module, event_driven, skipped)),
                count(skipped.get("narrow_macs", 0.0)),
                count(event_driven["synops"]),
                count(module["neuron_updates"]),
                "" if rate is None else f"{rate:.3f}",
                microjoules(skipped["energy_mj"]["compute"]),
            ]
        )
    whole, driven, skipped = (part["operations"] for part in (counts["conservative"], counts["event_driven"], best))
    rows.append(
        [
            "sum",
            "",
            "",
            count(variant["parameters"]),
            count(variant["state_bytes"] / 4),
            "",
            *(count(part["macs"]) for part in (whole, driven, skipped)),
            count(skipped.get("narrow_macs", 0.0)),
            count(driven["synops"]),
            count(whole["neuron_updates"]),
            "",
            microjoules(best["energy_mj"]["compute"]),
        ]
    )
    return rows


def localisation_rows(result: Result) -> list[list[str]]:
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


def break_even_rows(result: Result) -> list[list[str]]:
    """Measured and break-even firing rate of the spiking blocks, by count and model."""
    rows = []
    for variant in result["variants"]:
        for name, counted in distinct_counts(variant):
            found = counted.get("break_even") or {"points": {}}
            for model in result["energy_models"] if found["points"] else ():
                point = found["points"].get(model) or found["points"][f"{model}/dense"]
                below = "" if point["rate"] is None else f"below {point['rate']:.3f}"
                pays = {"never": "never pays", "always": "at any rate", "below": below}[point["verdict"]]
                rate = f"{variant['firing_rate']['mean']:.3f}"
                rows.append([variant["name"], name, model_words(model), rate, pays])
    return rows


def distinct_counts(variant: Variant) -> list[tuple[str, Counted]]:
    """A variant's counts with their names, those joined that say the same."""
    found: list[tuple[str, Counted]] = []
    for name, counted in variant["counts"].items():
        words = COUNT_WORDS[name]
        if found and found[-1][1]["energy_mj"] == counted["energy_mj"]:
            found[-1] = (f"{found[-1][0]}, {words}", counted)
        else:
            found.append((words, counted))
    return found


def energy_rows(result: Result) -> list[list[str]]:
    """Energy of every variant at its best count, by model with and without reuse, and against its ANN and its last
    control.
    """
    rows = []
    for variant in result["variants"]:
        dense, found = counterpart(result, variant), attribution_of(result, variant["name"])
        control = variant_named(result, found["links"][-1]["from"] if found else None)
        for model, best in variant["best"].items():
            against = [
                "-" if other is None or other is variant else change(best["mean"], other["best"][model]["mean"])
                for other in (dense, control)
            ]
            words = COUNT_WORDS[best["count"]]
            rows.append([variant["name"], model_words(model), words, microjoules(best["mean"]), *against])
    return rows


def health_rows(variant: Variant) -> list[list[str]]:
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


def config_differences(variants: list[Variant]) -> list[list[str]]:
    """Keys that are not the same in all variants, with each one's value."""
    configs = [dotted(variant["config"]) for variant in variants]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]
    return [[key, *(str(config.get(key, "-")) for config in configs)] for key in differing if key != "name"]


def runs_csv(result: Result) -> str:
    """A line per finished run: what differs between variants, what came out, and its variant's rate and energies."""
    variants, models = {variant["name"]: variant for variant in result["variants"]}, result["energy_models"]
    differences = config_differences(result["variants"])
    settings = {name: [row[place] for row in differences] for place, name in enumerate(variants, start=1)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["val_accuracy", "test_accuracy", "best_epoch", "epochs", "firing_rate"]
    keys = [*(row[0] for row in differences), *columns, *(f"energy_mj_{model}" for model in models)]
    writer.writerow(["variant", "seed", *keys])
    for run in result["runs"]:
        variant = variants[run["variant"]]
        best = run["history"][run["best_epoch"]].get("val/segment_accuracy")
        row = [best, run["segment_accuracy"], run["best_epoch"], len(run["history"]), variant["firing_rate"]["mean"]]
        spent = energy_at_best(variant)
        writer.writerow([run["variant"], run["seed"], *settings[run["variant"]], *row, *(spent[m] for m in models)])
    return text.getvalue()


def draw(result: Result) -> dict[str, Any]:
    """Every figure of the page by name; rasters by variant."""
    variants = result["variants"]
    dense = [variant for variant in variants if variant["kind"] == "ann"]
    return {
        "accuracy": figures.accuracy_per_seed(variants),
        "attribution": figures.attribution(result),
        "accuracy-energy": figures.accuracy_energy(result),
        "energy-shares": figures.energy_shares(result),
        "verdicts": figures.verdicts(result),
        "steps": figures.against_steps(variants, dense),
        "firing-rates": figures.firing_rates(variants),
        "rates-in-time": figures.rates_in_time(variants),
        **({} if is_shortened(result) else whole_figures(result)),
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


def whole_figures(result: Result) -> dict[str, Any]:
    """Figures of what a shortened comparison lacks."""
    variants, classes = result["variants"], result["classes"]
    return {
        "classes": figures.class_differences(variants, classes, result["baseline"]),
        "confusion": figures.confusion(variants, classes),
        "curves": figures.curves(result["runs"], [variant["name"] for variant in variants]),
    }


def is_shortened(result: Result) -> bool:
    """Whether it is one of `results/`, without configs, classes, modules and histories (`scripts/keep_result.py`)."""
    return "config" not in result["variants"][0]


def read_result(source: Path) -> Result:
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
    if result.get("version", VERSION) > VERSION:
        raise InputError(f"{source} is of version {result['version']}, later than {VERSION}: update snn-cace")
    return in_present_terms(result)


def in_present_terms(result: Any) -> Result:
    """A comparison of any version with the names of this one. Before counts were siblings, the conservative one was the
    variant itself; there were no controls.
    """
    result.setdefault("attribution", [])
    for variant in result["variants"]:
        if "counts" not in variant:
            counts = {"event_driven": variant.get("event_driven", variant), "conservative": variant}
            variant["counts"] = {
                name: {**counted, "operations": counted["operations"]} for name, counted in counts.items()
            }
            variant["best"] = {
                model: min(
                    (
                        {"count": name, "mean": counted["energy_mj"][model], "std": 0.0}
                        for name, counted in counts.items()
                    ),
                    key=lambda best: best["mean"],
                )
                for model in result["energy_models"]
            }
    return result


def write_report(source: Path, directory: Path) -> str:
    """Write report.html, comparison.md, card.md and the figures (SVG and PNG) of the comparison.json at `source` into
    `directory`, all of them from it alone; the page needs no other file and no network. Returns its summary.
    """
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    from snn_cace.report.audit import comparison_card
    from snn_cace.report.page import as_markdown

    result = read_result(source)
    whole = not is_shortened(result)
    drawn = {
        name: figures.save(figure, directory / "figures", name)
        for name, figure in draw(result).items()
        if figure is not None
    }
    here = resources.files("snn_cace.report")
    template = (here / "comparison.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    page = environment.from_string(template).render(
        result=result,
        whole=whole,
        dense=[variant["name"] for variant in counterparts(result)],
        networks=", ".join(dict.fromkeys(title_of(variant.get("network", "cace")) for variant in result["variants"])),
        cautions=cautions(result),
        sentences=sentences(result),
        limits=limits(result),
        result_headings=result_headings(result),
        result_rows=result_rows(result),
        notes=notes(result),
        headings=count_headings(result),
        rows=table_rows(result),
        equal_accuracy=EQUAL_ACCURACY,
        rival_headings=RIVAL_HEADINGS,
        rivals=equal_accuracy_rows(result),
        tests=test_lines(result),
        attribution_headings=attribution_headings(result),
        attribution=attribution_rows(result),
        activity_headings=ACTIVITY_HEADINGS,
        activity=activity_rows(result),
        energies=energy_rows(result),
        break_even=break_even_rows(result),
        module_headings=MODULE_HEADINGS,
        modules={variant["name"]: module_rows(variant) for variant in result["variants"] if whole},
        health={v["name"]: health_rows(v) for v in result["variants"] if v.get("layers")},
        tuning_headings=tuning.HEADINGS,
        tuning_rows=tuning.tuning_rows(result),
        tuning_notes=tuning.tuning_notes(result),
        localisation_headings=LOCALISATION_HEADINGS,
        localisation=localisation_rows(result) if whole else [],
        pointing_headings=attention.HEADINGS,
        pointing=attention.pointing_over_seeds(result) if whole else [],
        differences=config_differences(result["variants"]) if whole else [],
        configs={v["name"]: yaml_text.dump(v["config"]) for v in result["variants"] if whole},
        figures=drawn,
        across=[chain_verdict(result, found) for found in result["attribution"]],
        plotly=get_plotlyjs(),
        data=json.dumps(page_data(result), allow_nan=False).replace("<", "\\u003c"),
        script=(here / "comparison.js").read_text(encoding="utf-8"),
    )
    write_text(directory / "report.html", page)
    write_text(directory / "comparison.md", markdown(result))
    write_text(directory / "card.md", as_markdown(f"Claim card: {result['name']}", comparison_card(result)))
    if whole:
        write_text(directory / "runs.csv", runs_csv(result))
    return summary(result)
