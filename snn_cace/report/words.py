"""What may be concluded from a comparison, in sentences made from its numbers."""

from __future__ import annotations

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


def variant_named(result: dict[str, Any], name: str | None) -> dict[str, Any] | None:
    return next((variant for variant in result["variants"] if variant["name"] == name), None)


def p_words(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def accuracy_sentence(test: dict[str, Any]) -> str:
    """Whether a difference is shown, and how large it may be."""
    low, high = test["ci95"]
    interval = f"95 % interval {low:+.2f} to {high:+.2f}; Holm-corrected {p_words(test['p_holm'])}"
    if test["shown"]:
        more = "more" if test["difference"] > 0 else "less"
        return f"{test['a']} is {abs(test['difference']):.2f} points {more} accurate than {test['b']} ({interval})."
    return (
        f"No difference in accuracy shown between {test['a']} and {test['b']}: {test['difference']:+.2f} points "
        f"({interval})."
    )


def change(value: float, base: float) -> str:
    """4.1 % less, 12 % more, the same."""
    percent = 100 * (value / base - 1)
    if abs(percent) < 0.05:
        return "the same"
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'less'}"


def change_range(ours: dict[str, float], theirs: dict[str, float], models: list[str]) -> str:
    """The smallest and the largest change among the energy models."""
    ordered = sorted(models, key=lambda model: ours[model] / theirs[model])
    low, high = ordered[0], ordered[-1]
    first, last = change(ours[low], theirs[low]), change(ours[high], theirs[high])
    if first == last:
        return f"{first} by every model"
    return f"from {first} ({MODEL_WORDS.get(low, low)}) to {last} ({MODEL_WORDS.get(high, high)})"


def energy_sentences(variant: dict[str, Any], dense: dict[str, Any], models: list[str]) -> list[str]:
    """A spiking variant's energy against the ANN's, whole network and blocks, and against the bit-matched ANN's."""
    name, base = variant["name"], dense["name"]
    blocks, opponent = variant["spiking_blocks"], variant["opponent"]
    accuracy = opponent["segment_accuracy"]
    reached = f" ({accuracy['mean']:.2f} % accurate without retraining)" if accuracy else ""
    sentences = [
        f"{name}'s whole network takes {change_range(variant['energy_mj'], dense['energy_mj'], models)} energy than "
        f"{base}'s; its spiking blocks ({', '.join(blocks['slots'])}) take "
        f"{change_range(blocks['energy_mj'], variant['replaced_blocks_energy_mj'], models)} than the dense blocks that "
        "they replace.",
        f"Against the fair opponent, the same dense blocks with {opponent['bits']}-bit activations{reached}, {name}'s "
        f"spiking blocks take {change_range(blocks['energy_mj'], opponent['blocks_energy_mj'], models)}.",
    ]
    ours, theirs = blocks["parameters"], variant["replaced_blocks_parameters"]
    if ours < 0.9 * theirs:
        sentences.append(
            f"{name}'s spiking blocks hold {100 * ours / theirs:.0f} % of the parameters of the dense ones: that part "
            "of the saving comes from a smaller block, not from spikes."
        )
    return sentences


def share_sentence(dense: dict[str, Any], models: list[str]) -> str:
    shares = dense["spiking_blocks"]["share"]
    listed = ", ".join(f"{100 * shares[m]:.1f} % ({MODEL_WORDS.get(m, m)})" for m in models)
    return (
        f"The compared slots are {listed} of {dense['name']}'s whole energy: "
        f"spikes that cost nothing could save no more. {costliest_part_sentence(dense, models)}"
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


def how_long(variant: dict[str, Any], dense: dict[str, Any]) -> str:
    ratio = variant["latency_ms"] / dense["latency_ms"]
    times = "" if 0.95 <= ratio <= 1.05 else f"{ratio:.2f} times "
    return f"{times}as long as {dense['name']}"


def speed_sentence(variant: dict[str, Any], dense: dict[str, Any]) -> str:
    latency = f"{variant['latency_ms']:.1f} ms, {how_long(variant, dense)}"
    said = f"On this machine one clip takes {variant['name']} {latency}."
    ours, theirs = variant["joules_per_clip"], dense["joules_per_clip"]
    if ours is not None and theirs:
        said += (
            f" The GPU's own meter says {1000 * ours:.3g} mJ per clip, its idle draw included: "
            f"{ours / theirs:.2f} times {dense['name']}'s {1000 * theirs:.3g} mJ."
        )
    return said


def break_even_sentence(variant: dict[str, Any], models: list[str]) -> str | None:
    found = variant.get("break_even")
    if not found:
        return None
    parts = []
    for model in models:
        point = found["points"][f"{model}/dense"]
        verdict = {
            "never": "it costs more even if it never fires",
            "always": "it costs less at any rate",
            "below": f"it costs less below {point['rate']:.3f}" if point["rate"] is not None else "",
        }[point["verdict"]]
        parts.append(f"{verdict} ({MODEL_WORDS.get(model, model)})")
    return (
        f"{variant['name']} fires at {found['firing_rate']:.3f} spikes per neuron per simulation step. "
        f"Against the dense blocks {'; '.join(parts)}."
    )


def conclusions(result: dict[str, Any]) -> list[str]:
    """The summary: accuracy first, then energy, then time."""
    models, dense = result["energy_models"], variant_named(result, result["dense_opponent"])
    sentences = [accuracy_sentence(test) for test in result["tests"]]
    spiking = [variant for variant in result["variants"] if variant["kind"] == "snn"]
    if dense and spiking:
        sentences.append(share_sentence(dense, models))
        for variant in spiking:
            sentences += energy_sentences(variant, dense, models)
            broken = break_even_sentence(variant, models)
            sentences += [broken] if broken else []
        sentences += [speed_sentence(variant, dense) for variant in spiking]
    return sentences


def headline(result: dict[str, Any]) -> str:
    """One sentence for the top of the page."""
    dense = variant_named(result, result["dense_opponent"])
    spiking = [variant for variant in result["variants"] if variant["kind"] == "snn"]
    if not dense or not spiking:
        return " ".join(accuracy_sentence(test) for test in result["tests"]) or "One variant: nothing to compare."
    best = max(spiking, key=lambda variant: variant["test_segment_accuracy"]["mean"])
    test = next((t for t in result["tests"] if t["a"] == best["name"] and t["b"] == dense["name"]), None)
    against = "no test was made"
    if test and test["shown"]:
        against = f"{test['difference']:+.2f} points against {dense['name']}, more than seeds and clips explain"
    elif test:
        against = f"no difference shown against {dense['name']}"
    changes = change_range(best["energy_mj"], dense["energy_mj"], result["energy_models"])
    accuracy = best["test_segment_accuracy"]["mean"]
    return (
        f"{best['name']} is the most accurate spiking variant ({accuracy:.2f} %; {against}). "
        f"Its whole network takes {changes} energy, and on this machine one clip takes it {how_long(best, dense)}."
    )


def cautions(result: dict[str, Any]) -> list[str]:
    """What a reader must not overlook."""
    seeds = min(len(variant["seeds"]) for variant in result["variants"])
    found = []
    for failure in result["failed"]:
        found.append(f"{failure['variant']}, seed {failure['seed']}, failed and is left out: {failure['reason']}")
    if seeds < ENOUGH_SEEDS:
        found.append(f"Only {seeds} seed{'s' if seeds > 1 else ''}: too few to say how much seeds differ.")
    if result["protocol"] == "paper":
        found.append(SELECTION["paper"])
    return found


def idle_lines(result: dict[str, Any]) -> list[str]:
    """Modules that hold parameters or compute, but never ran while operations were counted."""
    idle = {variant["name"]: variant["idle_modules"] for variant in result["variants"] if variant["idle_modules"]}
    return [f"Never ran in {name} while operations were counted: {', '.join(found)}." for name, found in idle.items()]


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
        "Energy: counted operations times published prices; no chip was measured. Leakage, routing and reuse of "
        "weights between segments are left out.",
        f"Compared slots, spiking in at least one variant: {slots}.",
        *idle_lines(result),
        "Fewer simulation steps and early exit run the same trained weights; where membranes are carried from segment "
        "to segment, a deeper run cannot go on from a shallower one, and all depths tried are counted.",
        "Latency: one clip, forward pass, median; runs take turns, nothing beside them. Training seconds and memory: "
        "several runs shared the machine.",
        f"Made on {environment['processor']}, {environment['cores']} cores, {environment['device']}, precision "
        f"{result['precision']}, PyTorch {environment['torch']}.",
    ]
