"""The tables of a comparison, from comparison.json alone: a list of rows, each its cells by heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from snn_cace.comparison.schema import Counted, Result, Variant
from snn_cace.config import dotted
from snn_cace.counting.units import count, microjoules
from snn_cace.report.conclusions import (
    Row,
    Table,
    against_baseline,
    change,
    counterpart,
    energy_steps,
    in_order_of_steps,
    last_control,
    model_heading,
    model_words,
    share_of_dense,
)
from snn_cace.report.figures import short_layer

COUNT_WORDS = {"event_driven": "event-driven", "conservative": "conservative", "zero_skipping": "zero-skipping"}


def counted(operations: Mapping[str, Any], keys: Mapping[str, str]) -> Row:
    """Operation counts by heading, of the keys that they have; older comparisons lack some."""
    return {heading: count(operations.get(key, 0.0)) for heading, key in keys.items()}


def shown_models(result: Result) -> list[str]:
    """The energy models of the tables, and behind the first with traffic the same with weights read once a segment."""
    reused = [model for model in result["reusing_models"] if model.endswith("/segment")][:1]
    pairs = ((model, f"{model}/segment") for model in result["energy_models"])
    return [name for model, again in pairs for name in (model, again) if name == model or name in reused]


def by_model(unit: str, cells: dict[str, str]) -> Row:
    """Cells of several energy models under their headings; the first heading says what the numbers are."""
    first, *others = map(model_heading, cells)
    return dict(zip([f"energy, {unit}: {first}", *others], cells.values(), strict=True))


def with_failed(rows: Table, result: Result) -> Table:
    """Behind `rows`, one for each variant without a finished run."""
    present = {variant["name"] for variant in result["variants"]}
    missing = dict.fromkeys(failure["variant"] for failure in result["failed"])
    first, second, *others = rows[0]
    failed = [{first: name, second: "failed"} | dict.fromkeys(others, "-") for name in missing if name not in present]
    return rows + failed


def summary_table(result: Result) -> Table:
    """A row per network, those of a chain in its order: each is a step from the row above. Energy by the first model,
    each network at its best count.
    """
    steps = {link["to"]: link for found in result["attribution"] for link in found["links"]}
    model, rows, above = result["energy_models"][0], list[Row](), None
    for variant in in_order_of_steps(result):
        name, step = variant["name"], steps.get(variant["name"])
        test = step["accuracy"] if step else against_baseline(result).get(name)
        dense, spent = counterpart(result, variant), variant["best"][model]["mean"]
        if variant["kind"] == "ann" and dense is not variant:  # compared with the first row, not with that one
            dense = None
        part = "-" if test is None else f"to {result['baseline']}"
        if step is not None:  # another chain's first step is from the ANN, not from the row above
            part = step["part"] if above == step["from"] else f"{step['part']}, from {step['from']}"
        points = "-" if test is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(test["difference"], *test["ci95"])
        rows.append(
            {
                "network": name,
                "what it adds": part,
                "test accuracy, %": f"{variant['test_segment_accuracy']['mean']:.2f}",
                "points, from the row above (95 % interval)": points,
                "energy, µJ": microjoules(spent),
                "of the ANN's, %": "-" if dense is None else f"{100 * spent / dense['best'][model]['mean']:.1f}",
                "latency, ms": f"{variant['latency_ms']:.1f}",
            }
        )
        above = name
    return with_failed(rows, result)


def result_table(result: Result) -> Table:
    """Accuracy, energy at its best count and latency of each variant, in the order of `summary_table`, and what was
    published where something was; "-" where a comparison of an older version does not say.
    """
    published, rows = any(variant["published"] for variant in result["variants"]), list[Row]()
    for variant in in_order_of_steps(result):
        accuracy, best, known = variant["test_segment_accuracy"], variant["best"], variant["published"]
        spent = {model: microjoules(best[model]["mean"]) if model in best else "-" for model in shown_models(result)}
        rows.append(
            {
                "variant": variant["name"],
                "test accuracy, %": f"{accuracy['mean']:.2f}",
                "± over seeds": f"{accuracy['std']:.2f}",
                **by_model("µJ", spent),
                "latency, ms": f"{variant['latency_ms']:.1f}",
            }
        )
        if published:
            rows[-1]["published, %"] = f"{known['accuracy']}" if known else "-"
    return with_failed(rows, result)


def attribution_table(result: Result) -> Table:
    """A row per link of every chain, one for zeros elsewhere, which accuracy has none of, and one for the whole."""
    rows = list[Row]()
    for found in result["attribution"]:
        for link in [*found["links"], found["whole"]]:
            test = link["accuracy"]
            shares = {model: f"{share_of_dense(result, found, link, model):+.1f}" for model in shown_models(result)}
            rows.append(
                {
                    "variant": found["variant"],
                    "step": f"{link['from']} to {link['to']}",
                    "what it adds": link["part"],
                    "accuracy, points": f"{test['difference']:+.2f}",
                    "from": f"{test['ci95'][0]:+.2f}",
                    "to": f"{test['ci95'][1]:+.2f}",
                    "p": f"{test['p_holm']:.3f}",
                    **by_model("% of the ANN's", shares),
                }
            )
        if "elsewhere" in found:
            step = energy_steps(found)[-2]
            shares = {model: f"{share_of_dense(result, found, step, model):+.1f}" for model in shown_models(result)}
            empty = dict.fromkeys(rows[-2], "-")
            named = {"variant": found["variant"], "step": rows[-2]["step"], "what it adds": step["part"]}
            rows.insert(-2, empty | named | by_model("% of the ANN's", shares))
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


def count_table(result: Result) -> Table:
    """A row per variant and count; counts that say the same stand once."""
    models, rows = result["energy_models"], list[Row]()
    keys = {"MACs": "macs", "MACs of few bits": "narrow_macs", "ACs": "acs", "SynOps": "synops"}
    for variant in result["variants"]:
        for name, found in distinct_counts(variant):
            row = {"variant": variant["name"], "count": name, **counted(found["operations"], keys)}
            row |= by_model("µJ", {model: microjoules(found["energy_mj"][model]) for model in models})
            blocks = microjoules(found["spiking_blocks"]["energy_mj"][models[0]])
            rows.append(row | {f"compared blocks, {model_heading(models[0])}": blocks})
    return rows


def activity_table(result: Result) -> Table:
    return [
        {
            "variant": variant["name"],
            "kind": variant["kind"],
            "parameters": count(variant["parameters"]),
            "firing rate": "-" if variant["firing_rate"]["mean"] is None else f"{variant['firing_rate']['mean']:.3f}",
            "zeros in activations, %": f"{100 * variant['activation_sparsity']:.1f}",
            "training, s": f"{variant['train_seconds']:.0f}",
        }
        for variant in result["variants"]
    ]


def energy_table(result: Result) -> Table:
    """Energy of every variant at its best count, by model with and without reuse, and against its ANN and its last
    control.
    """
    rows = []
    for variant in result["variants"]:
        dense, control = counterpart(result, variant), last_control(result, variant)
        for model, best in variant["best"].items():
            against = [
                "-" if other is None or other is variant else change(best["mean"], other["best"][model]["mean"])
                for other in (dense, control)
            ]
            rows.append(
                {
                    "variant": variant["name"],
                    "energy model": model_words(model),
                    "best count": COUNT_WORDS[best["count"]],
                    "energy, µJ": microjoules(best["mean"]),
                    "against the ANN, % of the ANN's": against[0],
                    "against its last control, % of the control's": against[1],
                }
            )
    return rows


def break_even_table(result: Result) -> Table:
    """Measured and break-even firing rate of the spiking blocks, by count and model."""
    rows = []
    for variant in result["variants"]:
        for name, found in distinct_counts(variant):
            points = (found.get("break_even") or {"points": {}})["points"]
            for model in result["energy_models"] if points else ():
                point = points.get(model) or points[f"{model}/dense"]
                below = "" if point["rate"] is None else f"below {point['rate']:.3f}"
                verdict = {"never": "never pays", "always": "at any rate", "below": below}[point["verdict"]]
                rows.append(
                    {
                        "variant": variant["name"],
                        "count": name,
                        "energy model": model_words(model),
                        "measured rate": f"{variant['firing_rate']['mean']:.3f}",
                        "pays against dense": verdict,
                    }
                )
    return rows


def module_table(variant: Variant) -> Table:
    """A row per module, and their sum; energy by arithmetic alone, zeros skipped where the comparison counts so."""
    counts = variant["counts"]
    chosen = (counts["conservative"], counts["event_driven"], counts.get("zero_skipping", counts["event_driven"]))
    plain, driven, skipped = ({module["name"]: module for module in found["modules"]} for found in chosen)
    whole = {"name": "sum", "kind": "", "slot": "", "parameters": variant["parameters"], "bits": ""}
    whole |= {"state": variant["state_bytes"] / 4, "firing_rate": None}
    sums = [{**found["operations"], "energy_mj": found["energy_mj"], **whole} for found in chosen]
    modules = [(module, driven.get(name, module), skipped.get(name, module)) for name, module in plain.items()]
    return [
        {
            "module": module["name"],
            "kind": module["kind"],
            "slot": module["slot"] or "",
            "parameters": count(module["parameters"]),
            "state": count(module["state"]),
            "bits": str(module.get("bits", 32)),
            "MACs": count(module["macs"]),
            "MACs, event-driven": count(event_driven["macs"]),
            "MACs, zeros skipped": count(best["macs"]),
            "MACs of few bits, zeros skipped": count(best.get("narrow_macs", 0.0)),
            "SynOps": count(event_driven["synops"]),
            "neuron updates": count(module["neuron_updates"]),
            "firing rate": "" if module["firing_rate"] is None else f"{module['firing_rate']:.3f}",
            "energy, µJ": microjoules(best["energy_mj"]["compute"]),
        }
        for module, event_driven, best in [*modules, sums]
    ]


def price_table(result: Result) -> Table:
    return [{"price": p["name"], "value": str(p["value"]), "source": p["source"]} for p in result["prices"]]


def environment_table(result: Result) -> Table:
    return [{"what": what, "value": str(value)} for what, value in result["environment"].items()]


def localisation_table(result: Result) -> Table:
    """What each variant calls an event, from its confusion over all seeds."""
    rows = []
    for variant in result["variants"]:
        counts = variant["confusion"]
        events, background = counts[:-1], counts[-1]
        segments, of_events = sum(map(sum, counts)), sum(map(sum, events))
        found = of_events - sum(row[-1] for row in events)
        false, right = sum(background[:-1]), sum(row[place] for place, row in enumerate(events))
        shares = {
            "segments called an event, %": (found + false, segments),
            "that are one, %": (of_events, segments),
            "of events called one, %": (found, of_events),
            "of background called background, %": (background[-1], sum(background)),
            "class right, % of events called one": (right, found),
        }
        percent = {what: f"{100 * part / whole:.1f}" if whole else "-" for what, (part, whole) in shares.items()}
        rows.append({"variant": variant["name"], **percent})
    return rows


def health_table(variant: Variant) -> Table:
    """Of each spiking layer: rate, distribution, dead and saturated shares, time to the first spike."""
    rows = []
    for name, layer in variant["layers"].items():
        quantiles, first = layer["neuron_rate_quantiles"], layer["mean_time_to_first_spike"]
        rows.append(
            {
                "layer": short_layer(name),
                "firing rate": f"{layer['firing_rate']:.3f}",
                "middle half of neurons": f"{quantiles['0.25']:.3f} to {quantiles['0.75']:.3f}",
                "dead": f"{100 * layer['dead']:.1f} %",
                "saturated": f"{100 * layer['saturated']:.1f} %",
                "zeros": f"{100 * layer['activation_sparsity']:.1f} %",
                "first spike at step, from 0": "never" if first is None else f"{first:.2f}",
            }
        )
    return rows


def config_differences(variants: list[Variant]) -> Table:
    """Keys that are not the same in all variants, with each one's value."""
    configs = {variant["name"]: dotted(variant["config"]) for variant in variants}
    first = next(iter(configs.values()))
    keys = dict.fromkeys(key for config in configs.values() for key in config if key != "name")
    differing = [key for key in keys if any(config.get(key) != first.get(key) for config in configs.values())]
    return [{"key": key} | {name: str(config.get(key, "-")) for name, config in configs.items()} for key in differing]


def runs_csv(result: Result) -> str:
    """A line per finished run: what differs between variants, what came out, and its variant's rate and energies."""
    variants = {variant["name"]: variant for variant in result["variants"]}
    differences = config_differences(result["variants"])
    rows = []
    for run in result["runs"]:
        variant = variants[run["variant"]]
        rows.append(
            {
                "variant": run["variant"],
                "seed": run["seed"],
                **{row["key"]: row[run["variant"]] for row in differences},
                "val_accuracy": run["history"][run["best_epoch"]].get("val/segment_accuracy"),
                "test_accuracy": run["segment_accuracy"],
                "best_epoch": run["best_epoch"],
                "epochs": len(run["history"]),
                "firing_rate": variant["firing_rate"]["mean"],
                **{f"energy_mj_{model}": variant["best"][model]["mean"] for model in result["energy_models"]},
            }
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
