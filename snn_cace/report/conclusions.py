"""What may be concluded from a comparison, in sentences made from its numbers, and Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ENOUGH_SEEDS = 5
MODEL_WORDS = {
    "compute": "arithmetic alone",
    "memory": "arithmetic with weight and state traffic",
    "sram": "all traffic priced by memory size",
}
SELECTION = {
    "validation": "The epoch was picked on the validation split; the test split was read once.",
    "paper": "The epoch was picked on the test split, as in the published protocol: these are not held-out figures.",
}


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]


def variant_named(result: dict[str, Any], name: str | None) -> dict[str, Any] | None:
    return next((variant for variant in result["variants"] if variant["name"] == name), None)


def counterpart(result: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any] | None:
    """The ANN that a variant's energy and latency are held against: its own network's first."""
    return variant_named(result, variant.get("dense_counterpart", result["dense_baseline"]))


def counterparts(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The ANNs that spiking variants are held against, each once."""
    spiking = [counterpart(result, variant) for variant in result["variants"] if variant["kind"] == "snn"]
    return list({dense["name"]: dense for dense in spiking if dense is not None}.values())


def p_words(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def fewest_seeds(result: dict[str, Any]) -> int:
    return min(len(variant["seeds"]) for variant in result["variants"])


def accuracy_words(test: dict[str, Any], seeds: int) -> str:
    """Whether a difference is shown, and how large it may be; over few seeds only what was measured."""
    low, high = test["ci95"]
    interval = f"95 % interval {low:+.2f} to {high:+.2f}; Holm-corrected {p_words(test['p_holm'])}"
    if seeds < ENOUGH_SEEDS:
        runs = "one seed is" if seeds == 1 else f"{seeds} seeds are"
        return (
            f"{test['a']} measured {test['difference']:+.2f} points against {test['b']} ({interval}): {runs} too few "
            "to conclude from"
        )
    if test["shown"]:
        more = "more" if test["difference"] > 0 else "less"
        return f"{test['a']} is {abs(test['difference']):.2f} points {more} accurate than {test['b']} ({interval})"
    return (
        f"No difference in accuracy shown between {test['a']} and {test['b']}: {test['difference']:+.2f} points "
        f"({interval})"
    )


def change(value: float, base: float) -> str:
    """4.1 % less, 12 % more, the same."""
    percent = 100 * (value / base - 1)
    if abs(percent) < 0.05:
        return "the same"
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'less'}"


def change_range(ours: dict[str, float], theirs: dict[str, float], models: list[str]) -> str:
    """The smallest and the largest change among the energy models: 6.0 to 10.1 % less."""
    ratios = sorted(ours[model] / theirs[model] for model in models)
    first, last = change(ratios[0], 1), change(ratios[-1], 1)
    if first == last:
        return first
    if ratios[-1] < 1 and last != "the same":
        first, last = last, first
    if first.split()[-1] == last.split()[-1]:
        return f"{first.split()[0]} to {last}"
    return f"from {first} to {last}"


def percent_range(ours: dict[str, float], theirs: dict[str, float], models: list[str]) -> str:
    """The same as numbers: -10.1 to -6.0 %."""
    changes = sorted(100 * (ours[model] / theirs[model] - 1) for model in models)
    low, high = f"{changes[0]:+.1f}", f"{changes[-1]:+.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def bits_of(baseline: dict[str, Any]) -> str:
    """Of a bit-matched baseline's activations: 3 bits."""
    return f"{baseline['bits']} bit{'s' if baseline['bits'] > 1 else ''}"


def bit_matched_sentence(variant: dict[str, Any]) -> str | None:
    baseline = variant["event_driven"]["bit_matched"]
    if not baseline["segment_accuracy"]:
        return None
    readers = f" and {len(baseline['readers'])} layers that read their rates" if baseline.get("readers") else ""
    return (
        f"The dense blocks{readers} with {baseline['bits']}-bit activations, the bit-matched baseline of "
        f"{variant['name']}, reach {baseline['segment_accuracy']['mean']:.2f} % without retraining."
    )


def smaller_blocks_sentence(variant: dict[str, Any]) -> str | None:
    ours, theirs = variant["spiking_blocks"]["parameters"], variant["replaced_blocks_parameters"]
    if ours >= 0.9 * theirs:
        return None
    return (
        f"{variant['name']}'s spiking blocks hold {100 * ours / theirs:.0f} % of the parameters of the dense ones: "
        "that part of the saving comes from a smaller block, not from spikes."
    )


def share_sentence(dense: dict[str, Any], models: list[str]) -> str:
    shares, within = dense["event_driven"]["spiking_blocks"]["share"], dense["spiking_blocks"]["share"]
    listed = ", ".join(f"{100 * shares[m]:.1f} % ({MODEL_WORDS.get(m, m)})" for m in models)
    what, alone = "The compared slots", ""
    if shares != within:
        what = "The compared slots, and the layers that read their rates,"
        alone = f" The slots alone are {', '.join(f'{100 * within[m]:.1f} %' for m in models)}."
    return (
        f"{what} are {listed} of {dense['name']}'s whole energy: "
        f"spikes that cost nothing could save no more.{alone} {costliest_part_sentence(dense, models)}"
    )


def costliest_part_sentence(variant: dict[str, Any], models: list[str]) -> str:
    """The part of the network, slots left out, that takes most energy by the first model, and its share by each."""
    parts: dict[str, dict[str, float]] = {}
    for module in variant["modules"]:
        if module["slot"] is None:
            part = parts.setdefault(module["name"].partition(".")[0], dict.fromkeys(models, 0.0))
            for model in models:
                part[model] += module["energy_mj"][model]
    name, spent = max(parts.items(), key=lambda item: item[1][models[0]])
    shares = ", ".join(f"{100 * spent[m] / variant['energy_mj'][m]:.1f} % ({MODEL_WORDS.get(m, m)})" for m in models)
    return f"Of what lies outside all slots, {name} takes most: {shares}."


def joules_sentence(variant: dict[str, Any], dense: dict[str, Any]) -> str | None:
    ours, theirs = variant["joules_per_clip"], dense["joules_per_clip"]
    if ours is None or not theirs:
        return None
    return (
        f"The GPU's own meter says {1000 * ours:.3g} mJ per clip of {variant['name']}, its idle draw included: "
        f"{ours / theirs:.2f} times {dense['name']}'s {1000 * theirs:.3g} mJ."
    )


def break_even_words(variant: dict[str, Any], models: list[str]) -> str:
    """The firing rate below which what spikes costs less than what it replaces, by every model."""
    found = variant.get("break_even")
    if not found:
        return "-"
    points = [found["points"][f"{model}/dense"] for model in models]
    rates = [point["rate"] for point in points if point["verdict"] == "below"]
    if any(point["verdict"] == "never" for point in points):
        return "never"
    return f"below {min(rates):.3f}" if rates else "at any rate"


def sentences(result: dict[str, Any]) -> list[str]:
    """One for each variant that was tested against the baseline or that spikes: its accuracy, and its energy."""
    tests, seeds = against_baseline(result), fewest_seeds(result)
    said = []
    for variant in result["variants"]:
        dense = counterpart(result, variant)
        clauses = [accuracy_words(tests[variant["name"]], seeds)] if variant["name"] in tests else []
        if dense and variant["kind"] == "snn":
            event_driven, conservative = (
                change_range(counted["energy_mj"], dense["energy_mj"], result["energy_models"])
                for counted in (variant["event_driven"], variant)
            )
            counted = f" counted event-driven, {conservative} conservatively" if event_driven != conservative else ""
            whose = "its" if clauses else f"{variant['name']}'s"
            than = f" than {dense['name']}'s" if len(counterparts(result)) > 1 else ""
            clauses.append(f"{whose} whole network takes {event_driven} energy{than}{counted}, by model")
        if clauses:
            said.append("; ".join(clauses) + ".")
    return said + [f"{accuracy_words(test, seeds)}." for test in result["tests"] if test not in tests.values()]


def against_baseline(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tests of variants against the first, by variant."""
    return {test["a"]: test for test in result["tests"] if test["b"] == result["baseline"]}


def limits(result: dict[str, Any]) -> list[str]:
    """What bounds the saving: the compared slots' share, blocks that are smaller, the GPU's meter."""
    said = [share_sentence(dense, result["energy_models"]) for dense in counterparts(result)]
    for variant in result["variants"]:
        dense = counterpart(result, variant)
        if variant["kind"] == "snn" and dense:
            said += filter(
                None, [bit_matched_sentence(variant), smaller_blocks_sentence(variant), joules_sentence(variant, dense)]
            )
    return said


def cautions(result: dict[str, Any]) -> list[str]:
    """What a reader must not overlook."""
    seeds = fewest_seeds(result)
    found = []
    for failure in result["failed"]:
        found.append(f"{failure['variant']}, seed {failure['seed']}, failed and is left out: {failure['reason']}")
    if seeds < ENOUGH_SEEDS and not result["tests"]:
        found.append(f"Only {seeds} seed{'s' if seeds > 1 else ''}: too few to say how much seeds differ.")
    if result["protocol"] == "paper":
        found.append(SELECTION["paper"])
    return found


def idle_lines(result: dict[str, Any]) -> list[str]:
    """Modules that hold parameters or compute, but never ran while operations were counted."""
    idle = {variant["name"]: variant["idle_modules"] for variant in result["variants"] if variant["idle_modules"]}
    return [f"Never ran in {name} while operations were counted: {', '.join(found)}." for name, found in idle.items()]


def published_lines(result: dict[str, Any]) -> list[str]:
    """What was published of a variant, and how."""
    known = [(variant["name"], variant.get("published")) for variant in result["variants"]]
    return [f"Published of {name}: {found['accuracy']} %, {found['note']}." for name, found in known if found]


def notes(result: dict[str, Any]) -> list[str]:
    """How each number was made."""
    environment = result["environment"]
    seeds = ", ".join(map(str, result["variants"][0]["seeds"]))
    slots = ", ".join(result["compared_slots"]) or "none"
    return [
        f"Data: {result['dataset']}; {result['test_clips']} test clips; seeds {seeds}; protocol {result['protocol']}. "
        f"{SELECTION[result['protocol']]}",
        "Accuracy: percent of test segments right, background included; mean ± standard deviation over seeds. "
        "Intervals: bootstrap over seeds and clips together. p: the larger of a paired t test over seeds and sign "
        "flips over clips, Holm-corrected over variants.",
        f"Operations: per clip, counted while {result['measured_clips']} test clips ran, module by module; one that no "
        "rule knows stops the count. Currents that a segment reuses over simulation steps are counted once; "
        "what follows spikes is counted by the spikes that really came.",
        "Event-driven: a linear layer that reads rates of spikes, and nothing analog added to them, runs on "
        "accumulates, a column of weights per spike, with the same result. Conservative, in brackets where it differs: "
        "every value that a readout has left is analog, but in the output layer of a spiking block itself.",
        "Energy: counted operations times published prices; no chip was measured. Leakage, routing and reuse of "
        "weights between segments are left out.",
        f"Compared slots, spiking in at least one variant: {slots}.",
        *idle_lines(result),
        *published_lines(result),
        "Fewer simulation steps and early exit run the same trained weights; where membranes are carried from segment "
        "to segment, a deeper run cannot go on from a shallower one, and all depths tried are counted.",
        "Latency: one clip, forward pass, median; runs take turns, nothing beside them. Training seconds and memory: "
        "several runs shared the machine.",
        f"Made on {environment['processor']}, {environment['cores']} cores, {environment['device']}, precision "
        f"{result['precision']}, PyTorch {environment['torch']}.",
    ]
