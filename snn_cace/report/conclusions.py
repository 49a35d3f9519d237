"""What may be concluded from a comparison, in sentences made from its numbers, and Markdown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypedDict

from snn_cace.comparison.front import EQUAL_POINTS, Rivalry, rivalries
from snn_cace.comparison.schema import Attribution, Difference, EnergyDifference, Link, Result, Variant
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.counting.models import MODELS

REUSE_WORDS = {"segment": "weights once a segment", "clip": "weights once a clip"}
EQUAL_ACCURACY = (
    "Energy at equal accuracy: each spiking network against the cheapest network without spikes that is at most "
    f"{EQUAL_POINTS} points less accurate, each at its best count; shown is the one that saves most, first of those "
    "as accurate. That network may differ in shape, memory and bits too. Points are its accuracy less that network's; "
    f"where they are below -{EQUAL_POINTS}, what it saves is paid for in accuracy."
)
NOT_APART = "shape, norm and spikes are not told apart"
SELECTION = {
    "validation": "The epoch was picked on the validation split; the test split was read once.",
    "paper": "The epoch was picked on the test split, as in the published protocol: these are not held-out figures.",
}
Row = dict[str, str]
"""Cells by heading."""
Table = list[Row]


def markdown_table(rows: Table) -> list[str]:
    """The lines of a Markdown table; none of no rows."""
    cells = [[*rows[0]], ["---"] * len(rows[0]), *(row.values() for row in rows)] if rows else []
    return [f"| {' | '.join(row)} |" for row in cells]


def variant_named(result: Result, name: str | None) -> Variant | None:
    return next((variant for variant in result["variants"] if variant["name"] == name), None)


def counterpart(result: Result, variant: Variant) -> Variant | None:
    """The ANN that a variant's energy and latency are compared with: its own network's first."""
    return variant_named(result, variant["dense_counterpart"])


def counterparts(result: Result) -> list[Variant]:
    """The ANNs that spiking variants are compared with, each once."""
    spiking = [counterpart(result, variant) for variant in result["variants"] if variant["kind"] == "snn"]
    return list({dense["name"]: dense for dense in spiking if dense is not None}.values())


def model_words(model: str, attribute: Literal["title", "heading"] = "title") -> str:
    """What an energy model prices, and how weights are reused."""
    priced, _, shared = model.partition("/")
    words = getattr(MODELS[priced], attribute) if priced in MODELS else priced
    return words + (f", {REUSE_WORDS[shared]}" if shared else "")


def model_heading(model: str) -> str:
    """The heading of an energy model's column."""
    return model_words(model, "heading")


def across_models(verdicts: dict[str, str]) -> str:
    """What spikes do to energy by each model, as the rest of a sentence: `saves`, `costs`, or neither, by model; where
    models disagree, why the fewer do.
    """
    words = {"saves": "save energy", "costs": "cost energy", "": "show no difference in energy"}
    by = {words[verdict]: [model for model in verdicts if verdicts[model] == verdict] for verdict in words}
    *few, (most, others) = sorted(((said, models) for said, models in by.items() if models), key=lambda x: len(x[1]))
    if not few:
        return f"{most} by every model."
    named_models = "; ".join(f"{said} by {', '.join(map(model_words, models))}" for said, models in few)
    said = f"{named_models}; {most} by the other {len(others)} models"
    known = [MODELS[name] for name in dict.fromkeys(model.partition("/")[0] for model in few[0][1]) if name in MODELS]
    why = "; ".join(f"{model.title} {model.charges}" for model in known if model.charges)
    return f"{said}. The conclusion depends on the model" + (f": {why}." if why else ".")


def in_order_of_steps(result: Result) -> list[Variant]:
    """The networks of each chain from the ANN to the SNN, then all others."""
    chained = [name for found in result["attribution"] for name in (found["dense"], *(x["to"] for x in found["links"]))]
    named = {variant["name"]: variant for variant in result["variants"]}
    return [named[name] for name in dict.fromkeys([*chained, *named])]


def attribution_of(result: Result, name: str) -> Attribution | None:
    """The chain from the dense network to the spiking variant `name`; None without controls."""
    return next((found for found in result["attribution"] if found["variant"] == name), None)


def last_control(result: Result, variant: Variant) -> Variant | None:
    """The control that stands last in a spiking variant's chain."""
    found = attribution_of(result, variant["name"])
    return variant_named(result, found["links"][-1]["from"]) if found else None


def p_words(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def fewest_seeds(result: Result) -> int:
    return min(len(variant["seeds"]) for variant in result["variants"])


def too_few(seeds: int) -> str:
    return f"{'one seed is' if seeds == 1 else f'{seeds} seeds are'} too few to conclude from"


def accuracy_words(test: Difference, seeds: int) -> str:
    """Whether a difference is shown, and how large it may be; over few seeds only what was measured."""
    low, high = test["ci95"]
    interval = f"95 % interval {low:+.2f} to {high:+.2f}; Holm-corrected {p_words(test['p_holm'])}"
    if seeds < ENOUGH_SEEDS:
        measured = f"{test['a']} measured {test['difference']:+.2f} points against {test['b']}"
        return f"{measured} ({interval}): {too_few(seeds)}"
    if test["shown"]:
        more = "more" if test["difference"] > 0 else "less"
        return f"{test['a']} is {abs(test['difference']):.2f} points {more} accurate than {test['b']} ({interval})"
    corrected = "" if low <= 0 <= high else " after correction for several tests"
    return (
        f"No difference in accuracy shown{corrected} between {test['a']} and {test['b']}: {test['difference']:+.2f} "
        f"points ({interval})"
    )


def change(value: float, base: float) -> str:
    """4.1 % less, 12 % more, the same."""
    percent = 100 * (value / base - 1)
    if abs(percent) < 0.05:
        return "the same"
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'less'}"


def change_range(ratios: Sequence[float]) -> str:
    """The smallest and the largest change among energies over others: 6.0 to 10.1 % less."""
    ratios = sorted(ratios)
    first, last = change(ratios[0], 1), change(ratios[-1], 1)
    if first == last:
        return first
    if ratios[-1] < 1 and last != "the same":
        first, last = last, first
    if first.split()[-1] == last.split()[-1]:
        return f"{first.split()[0]} to {last}"
    return f"from {first} to {last}"


def smaller_blocks_sentences(variants: Sequence[Variant]) -> list[str]:
    """Which spiking networks have blocks of fewer parameters than the dense ones; one sentence for all of one share."""
    shares: dict[str, list[str]] = {}
    for variant in variants:
        counted = variant["counts"]["conservative"]
        ours, theirs = counted["spiking_blocks"]["parameters"], counted.get("replaced_blocks_parameters")
        if theirs is not None and ours < 0.9 * theirs:
            shares.setdefault(f"{100 * ours / theirs:.0f} %", []).append(variant["name"])
    return [
        f"The spiking blocks of {', '.join(names)} hold {share} of the parameters of the dense ones: that part of the "
        "saving comes from a smaller block, not from spikes."
        for share, names in shares.items()
    ]


def by_each_model(shares: dict[str, float], models: Sequence[str]) -> str:
    return ", ".join(f"{100 * shares[model]:.1f} % ({model_words(model)})" for model in models)


def share_sentence(dense: Variant, models: list[str]) -> str:
    shares, within = (dense["counts"][count]["spiking_blocks"]["share"] for count in ("event_driven", "conservative"))
    what, alone = "The compared slots", ""
    if shares != within:
        what = "The compared slots, and the layers that read their rates,"
        alone = f" The slots alone are {', '.join(f'{100 * within[m]:.1f} %' for m in models)}."
    return (
        f"{what} are {by_each_model(shares, models)} of {dense['name']}'s whole energy: "
        f"spikes that cost nothing could save no more.{alone} {costliest_part_sentence(dense, models)}"
    ).rstrip()


def free_spikes_sentence(result: Result, found: Attribution) -> str | None:
    """What spikes could save at most: all that the last control spends where the SNN has or reads spikes."""
    last, spiking = (variant_named(result, name) for name in (found["links"][-1]["from"], found["variant"]))
    if last is None or spiking is None or "zero_skipping" not in last["counts"]:
        return None
    touched = [one["counts"]["zero_skipping"]["spiking_blocks"]["slots"] for one in (last, spiking)]
    if touched[0] != touched[1]:  # of older comparisons, what any of their networks touches
        return None
    shares = last["counts"]["zero_skipping"]["spiking_blocks"]["share"]
    least, most = (by_each_model(shares, [end(shares, key=shares.__getitem__)]) for end in (min, max))
    return (
        f"If all that {found['variant']}'s spikes touch cost nothing, from {least} to {most} of {last['name']}'s "
        f"energy would be saved, of {len(shares)} energy models and reuses of weights."
    )


def costliest_part_sentence(variant: Variant, models: list[str]) -> str:
    """The part of the network, slots left out, that takes most energy by the first model, and its share by each."""
    counted = variant["counts"]["conservative"]
    parts: dict[str, Counter[str]] = {}
    for module in counted.get("modules", ()):  # left out of results/
        if module["slot"] is None:
            parts.setdefault(module["name"].partition(".")[0], Counter()).update(module["energy_mj"])
    if not parts:
        return ""
    name = max(parts, key=lambda part: parts[part][models[0]])
    shares = {model: parts[name][model] / counted["energy_mj"][model] for model in models}
    return f"Of what lies outside all slots, {name} takes most: {by_each_model(shares, models)}."


def joules_sentence(variant: Variant, dense: Variant) -> str | None:
    ours, theirs = variant["joules_per_clip"], dense["joules_per_clip"]
    if ours is None or not theirs:
        return None
    return (
        f"The GPU's own meter says {1000 * ours:.3g} mJ per clip of {variant['name']}, its idle draw included: "
        f"{ours / theirs:.2f} times {dense['name']}'s {1000 * theirs:.3g} mJ."
    )


def sentences(result: Result) -> list[str]:
    """What each spiking variant's chain says, or, without controls, what it does against its ANN; then the other tests.

    A claim about spikes is made from the last link alone, which has the same shape, norm, memory and bits on its other
    side.
    """
    seeds, said, linked = fewest_seeds(result), list[str](), set[tuple[str, str]]()
    for variant in result["variants"]:
        found = attribution_of(result, variant["name"])
        if found is not None:
            said += chain_sentences(result, found)
            last = found["links"][-1]
            alone = "Spikes themselves" if last["part"] == "spikes" else f"{last['part'].capitalize()} together"
            said.append(f"{alone}: {accuracy_words(last['accuracy'], seeds)}.")
            linked |= {(link["to"], link["from"]) for link in [*found["links"], found["whole"]]}
        elif variant["kind"] == "snn" and counterpart(result, variant) is not None:
            said.append(energy_sentence(result, variant))
    if linked and (rivals := best_rivalries(result)):
        said.append(equal_accuracy_sentence([*rivals.values()]))
    tests = [test for test in result["tests"] if (test["a"], test["b"]) not in linked]
    return said + [f"{accuracy_words(test, seeds)}." for test in tests]


def best_rivalries(result: Result) -> dict[str, Rivalry]:
    """By energy model, the spiking network that does best against the cheapest one without spikes that is as accurate.
    Empty over fewer seeds than a conclusion needs.
    """
    if fewest_seeds(result) < ENOUGH_SEEDS:
        return {}
    models = [*result["energy_models"], *result["reusing_models"]]
    best = {model: next(iter(rivalries(result["variants"], model)), None) for model in models}
    return {model: one for model, one in best.items() if one is not None and one.rival is not None}


def equal_accuracy_table(result: Result) -> Table:
    """A row per energy model, of `best_rivalries`."""
    rows = []
    for model, best in best_rivalries(result).items():
        low, high = best.interval or (best.percent, best.percent)
        rows.append(
            {
                "energy model": model_words(model),
                "spiking": best.spiking,
                "cheapest without spikes": str(best.rival),
                "points": f"{best.points:+.1f}",
                "energy against it, %": f"{best.percent:+.1f}",
                "from": f"{low:+.1f}",
                "to": f"{high:+.1f}",
            }
        )
    return rows


def equal_accuracy_sentence(found: Sequence[Rivalry]) -> str:
    """By how many energy models spikes save, or cost, more than the 95 % interval leaves open."""
    known = [(one, one.interval) for one in found if one.interval]
    numbers = {
        "cheaper": sum(high < 0 and one.is_equal for one, (_, high) in known),
        "cheaper and less accurate": sum(high < 0 and not one.is_equal for one, (_, high) in known),
        "dearer": sum(low > 0 for _, (low, _) in known),
    }
    counted = [f"{word} by {number}" for word, number in numbers.items() if number]
    return (
        f"Energy at equal accuracy (within {EQUAL_POINTS} points), of the best spiking network against the cheapest "
        f"without spikes: {', '.join(counted) or 'no difference shown by any'}, of {len(found)} energy models and "
        "reuses of weights."
    )


def chain_sentences(result: Result, found: Attribution) -> list[str]:
    """Of the +1.8 points from ann to snn, +2.2 come from shape and norm, ... and -0.4 (-1.4 to +0.6) from spikes. And
    the same of energy in percent of the dense network's, by arithmetic alone, each network at its best count.
    """
    model, whole = result["energy_models"][0], found["whole"]["accuracy"]["difference"]
    points = [f"{link['accuracy']['difference']:+.1f} from {link['part']}" for link in found["links"]]
    low, high = found["links"][-1]["accuracy"]["ci95"]
    points[-1] = points[-1].replace(" from ", f" ({low:+.1f} to {high:+.1f}) from ", 1)
    energy = [f"{share_of_dense(result, found, step, model):+.1f} from {step['part']}" for step in energy_steps(found)]
    spent, chain = share_of_dense(result, found, found["whole"], model), f"from {found['dense']} to {found['variant']}"
    return [
        f"Of the {whole:+.1f} points {chain}, {come_from(points)}.",
        f"Of the {spent:+.1f} % in energy {chain} ({model_words(model)}), {come_from(energy)}.",
    ]


def come_from(parts: Sequence[str]) -> str:
    """+2.2 come from shape and norm, +0.1 from memory and -0.4 from spikes."""
    first, *between, last = parts
    return f"{', '.join([first.replace(' from ', ' come from '), *between])} and {last}"


class EnergyStep(TypedDict):
    """A step of a chain as far as energy goes."""

    part: str
    to: str
    energy: dict[str, EnergyDifference]


def energy_steps(found: Attribution) -> list[EnergyStep]:
    """The steps that add up to a chain's whole difference in energy; what lies elsewhere is one, before the last."""
    steps: list[EnergyStep] = [
        {"part": link["part"], "to": link["to"], "energy": link["energy"]} for link in found["links"]
    ]
    if "elsewhere" in found:
        steps.insert(-1, {"part": "zeros elsewhere", "to": steps[-1]["to"], "energy": found["elsewhere"]})
    return steps


def share_of_dense(result: Result, found: Attribution, step: EnergyStep | Link, model: str) -> float:
    """A step's difference in energy in percent of the dense network's energy: so steps add up."""
    dense = variant_named(result, found["dense"])
    assert dense is not None
    return 100 * step["energy"][model]["difference_mj"] / dense["best"][model]["mean"]


def energy_sentence(result: Result, variant: Variant) -> str:
    """What a spiking variant without controls takes against its ANN."""
    dense = counterpart(result, variant)
    assert dense is not None
    ratios = [variant["best"][model]["mean"] / dense["best"][model]["mean"] for model in result["energy_models"]]
    change = change_range(ratios)
    return f"{variant['name']} takes {change} energy than {dense['name']}, by model; no control: {NOT_APART}."


def test_lines(result: Result) -> list[str]:
    seeds = fewest_seeds(result)
    return [f"{accuracy_words(test, seeds)}. Method: {test['method']}." for test in result["tests"]]


def against_baseline(result: Result) -> dict[str, Difference]:
    """The tests of variants against the first, by variant."""
    return {test["a"]: test for test in result["tests"] if test["b"] == result["baseline"]}


def pipeline_sentence(result: Result) -> str:
    """What the network is of the whole pipeline, encoders of pictures and sound included."""
    encoders, first = result["encoders"], result["variants"][0]
    if not encoders:
        return (
            "Energies are of the network behind its encoders of pictures and sound; what these cost is not known here, "
            "and may be far more."
        )
    network, before = first["best"]["compute"]["mean"], encoders["energy_mj"]["compute"]
    giga, share = sum(encoders["macs"].values()) / 1e9, 100 * network / (network + before)
    return (
        f"Energies are of the network behind its encoders. These take {giga:.3g} G MACs and {before:.3g} mJ a clip "
        f"(arithmetic alone): {first['name']} is {share:.2g} % of both together."
    )


def limits(result: Result) -> list[str]:
    """What bounds the saving: the compared slots' share, blocks that are smaller, the GPU's meter."""
    said = [share_sentence(dense, result["energy_models"]) for dense in counterparts(result)]
    if result["dataset"] != "AV-Digits":  # whose patches are pixels
        said.insert(0, pipeline_sentence(result))
    said += filter(None, (free_spikes_sentence(result, found) for found in result["attribution"]))
    pairs = [(v, counterpart(result, v)) for v in result["variants"] if v["kind"] == "snn"]
    said += smaller_blocks_sentences([variant for variant, dense in pairs if dense])
    return said + [line for variant, dense in pairs if dense and (line := joules_sentence(variant, dense))]


def cautions(result: Result) -> list[str]:
    """What a reader must not overlook."""
    seeds = fewest_seeds(result)
    found = [f"{f['variant']}, seed {f['seed']}, failed and is left out: {f['reason']}" for f in result["failed"]]
    if seeds < ENOUGH_SEEDS:
        few = too_few(seeds)
        found.append(f"{few[0].upper()}{few[1:]}: what follows was measured, and is no finding.")
    if result["protocol"] == "paper":
        found.append(SELECTION["paper"])
    alone = [v["name"] for v in result["variants"] if v["kind"] == "snn" and not attribution_of(result, v["name"])]
    if alone:
        found.append(f"No chain of controls leads to {', '.join(alone)}: {NOT_APART}.")
    return found


def notes(result: Result) -> list[str]:
    """How each number was made."""
    environment = result["environment"]
    seeds = ", ".join(map(str, result["variants"][0]["seeds"]))
    slots = ", ".join(result["compared_slots"]) or "none"
    idle = {variant["name"]: ", ".join(variant["idle_modules"]) for variant in result["variants"]}
    published = {variant["name"]: variant["published"] for variant in result["variants"]}
    return [
        f"Data: {result['dataset']}; {result['test_clips']} test clips; seeds {seeds}; protocol {result['protocol']}. "
        f"{SELECTION[result['protocol']]}",
        "Accuracy: percent of test segments right, background included; mean and standard deviation over seeds. "
        "Intervals: bootstrap over seeds, clips and, where clips share them, recordings. p: the largest of a paired t "
        "test over seeds and sign flips over clips and recordings, Holm-corrected over all tests here. All of it is "
        "conditional on this data set and, where variants were tuned, on one search.",
        "Controls: made from each spiking variant, with its settings, seeds and tuning. rectified: a rectifier for the "
        "node; leaky: with the node's linear memory; quantised: rounded to multiples of 1 / S, in the fewest bits that "
        "tell the levels of its rate apart (3 bits, 8 values, where S = 4 gives 5), trained so. "
        "Links, and zeros elsewhere in energy, add up to the whole difference; what spikes do is the last link. Its "
        "energy is that of the modules that spike or read spikes. Zeros elsewhere are those of the other modules, "
        "which are the same in both networks, and in which training leaves other zeros.",
        f"Operations: per clip, counted while {result['measured_clips']} test clips ran, module by module; one that no "
        "rule knows stops the count. Currents that a segment reuses over simulation steps are counted once; "
        "what follows spikes is counted from measured spikes. Batch norms are folded into weights.",
        "Counts: conservative, every value that a readout has left is analog, but in the output layer of a spiking "
        "block itself; event-driven, a linear layer that reads rates of spikes alone adds a column of weights per "
        "spike; zero-skipping, also no product with a zero activation is charged, in any network, and a bit per "
        "activation says which are zero. Each network stands at its best count.",
        "Energy: counted operations times published prices; no chip was measured. Leakage and routing are left out. "
        "Intervals of energy: Student's over seeds, for the same measured clips, not corrected for several models. "
        "Traffic: a weight is read at every use, or once a segment or clip, for all networks alike.",
        f"Compared slots, spiking in at least one variant: {slots}.",
        *(
            f"Never ran in {name} while operations were counted: {modules}."
            for name, modules in idle.items()
            if modules
        ),
        *(
            f"Published of {name}: {found['accuracy']} %, {found['note']}."
            for name, found in published.items()
            if found
        ),
        "Fewer simulation steps and early exit run the same trained weights; where membranes are carried from segment "
        "to segment, a deeper run cannot go on from a shallower one, and all depths tried are counted.",
        "Latency: one clip, forward pass, median; runs take turns, nothing beside them. Training seconds and memory: "
        "several runs shared the machine.",
        f"Made on {environment['processor']}, {environment['cores']} cores, {environment['device']}, precision "
        f"{result['precision']}, PyTorch {environment['torch']}.",
    ]
