"""The page of an audit, and the claim card of an audit or a comparison, from their JSON alone.

The card has the same eight parts in the same order whatever it is made from, and says where nothing is known. The parts
are what Yan et al. (arXiv 2409.08290), STEP (openreview SzwU2XrXIS), NeuroBench's system track and Dodge et al. ("Show
your work", EMNLP 2019) ask to be told.
"""

from __future__ import annotations

from typing import Any

from snn_cace.comparison.schema import Result
from snn_cace.counting.units import count, microjoules, rate_percent
from snn_cace.report.conclusions import SELECTION, Table, across_models, model_words
from snn_cace.report.interactive import chain_verdict
from snn_cace.report.page import Section
from snn_cace.report.tables import COUNT_WORDS, counted

OPERATIONS = {"macs": "MACs", "narrow_macs": "MACs of few bits", "acs": "ACs", "synops": "of these SynOps"}
TRAFFIC = {"updates": "neuron_updates", "weights": "weight_reads"}
CARD = (
    "Accuracy, seeds, protocol",
    "Controls and their results",
    "Counts",
    "Verdict of each energy model",
    "Measured and modelled",
    "Tuning budget",
    "Split that was read",
    "Left out",
)
LARGEST = 30
"""Modules that the page lists; the JSON has all."""
LEFT_OUT = (
    "Leakage, clocks, control, and memory that is not named by a model. No chip was measured: energies are counted "
    "operations times published prices."
)
MODELLED = "Modelled: every energy."
UNKNOWN = "Not known from an audit: it runs a network, and trains none."


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def energy_table(result: dict[str, Any], model: str = "model", unit: str = "µJ a clip, ") -> Table:
    """A row per model: energy per clip by each count, energy over the twin's and the break-even rate, both in percent.
    model, unit: words of the headings.
    """
    rows = []
    for name in result["counts"]["conservative"]["energy_mj"]:
        twin = result["against_twin"].get(name, {})
        row = {model: model_words(name)}
        row |= {unit + COUNT_WORDS[n]: microjoules(result["counts"][n]["energy_mj"][name]) for n in COUNT_WORDS}
        row["spiking part, % of its twin"] = percent(twin.get("ratio"))
        row["break-even rate, %"] = break_even_words(twin, result["firing_rate"])
        rows.append(row)
    return rows


def break_even_words(twin: dict[str, Any], rate: float | None) -> str:
    """The firing rate at which a model's energy and its twin's are the same, in percent; of silence alone it is known
    only where that costs more already.
    """
    if not twin:
        return "-"
    if twin["break_even"]:
        return rate_percent(twin["break_even"])
    return "never" if twin["ratio"] >= 1 else "always" if rate else "not known"


def operation_table(result: dict[str, Any]) -> Table:
    """A row per count, operations per clip."""
    keys = {"MACs": "macs", "of few bits": "narrow_macs", "ACs": "acs", "SynOps": "synops", **TRAFFIC}
    return [
        {"count": words, **counted(result["counts"][name]["operations"], keys)} for name, words in COUNT_WORDS.items()
    ]


def module_table(result: dict[str, Any]) -> Table:
    """The `LARGEST` modules, event-driven."""
    modules = sorted(result["counts"]["event_driven"]["modules"], key=lambda m: -m["macs"] - m["acs"])
    keys = {"MACs": "macs", "ACs": "acs", **TRAFFIC}
    return [
        {"module": module["name"] or "the network", "kind": module["kind"], **counted(module, keys)}
        for module in modules[:LARGEST]
    ]


def layer_table(result: dict[str, Any]) -> Table:
    """A row per layer that fires."""
    return [
        {
            "layer": name,
            "firing rate, %": rate_percent(layer["firing_rate"]),
            "dead, %": percent(layer["dead"]),
            "saturated, %": percent(layer["saturated"]),
        }
        for name, layer in result["layers"].items()
    ]


def audit_verdict(result: dict[str, Any]) -> str:
    """By which models the layers that spike cost less than their twin, and by which they cost more."""
    found = ratios(result)
    if not found:
        return "The network has no spiking neurons that are known."
    if not result["firing_rate"]:
        return "No neuron fires on these inputs, so energies are those of silence."
    verdicts = {model: "saves" if ratio < 1 else "costs" for model, ratio in found.items()}
    return f"Compared with a twin of few bits, the spikes {across_models(verdicts)}"


def audit_sections(result: dict[str, Any]) -> list[Section]:
    """The page of an audit, from `Audit.as_json`."""
    firing, steps = result["firing_rate"], result["simulation_steps"]
    said = [
        audit_verdict(result),
        f"{result['clips']} clips; {count(result['parameters'])} parameters; {percent(result['connection_sparsity'])} "
        f"% of weights and {percent(result['activation_sparsity'])} % of counted activations are zero.",
    ]
    if firing is not None:
        said.append(f"{steps} simulation steps; firing rate {rate_percent(firing)} %, spikes per neuron and step.")
    said += [f"Never ran: {', '.join(result['idle'])}."] * bool(result["idle"])
    said += [f"Note: {note}" for note in result.get("notes", [])]
    twin = (
        "Twin: what fires or reads spikes, on values of ceil(log2(T + 1)) bits, run once. Break-even rate: the firing "
        "rate at which both cost the same; never, where even silence costs more; always, where spikes cost nothing; "
        "not known, where nothing fired and silence costs less. Rows of weights read once a segment or clip have "
        "neither: both are of weights read at every use."
    )
    return [
        Section("What was found", said),
        Section("Energy", [twin] if ratios(result) else [], energy_table(result)),
        Section("Operations per clip", (), operation_table(result)),
        Section("Layers that fire", (), layer_table(result)),
        Section("Largest modules, event-driven", (), module_table(result)),
        Section("Left out", [LEFT_OUT]),
    ]


def ratios(result: dict[str, Any]) -> dict[str, float]:
    return {model: found["ratio"] for model, found in result["against_twin"].items()}


def audit_card(result: dict[str, Any]) -> list[Section]:
    """The claim card of an audit."""
    conservative = result["counts"]["conservative"]["operations"]
    counts = ", ".join(f"{count(conservative[key])} {name}" for key, name in OPERATIONS.items())
    controls = (
        "None trained. Counted instead: the same layers on values of few bits, for energy alone."
        if result["against_twin"]
        else "None: the network does not spike."
    )
    return card(
        [UNKNOWN],
        [controls],
        [f"Per clip, conservatively: {counts}.", *(f"Note: {note}" for note in result.get("notes", []))],
        [audit_verdict(result)],
        [f"Measured: operations and firing rates, on {result['clips']} clips.", MODELLED],
        [UNKNOWN],
        ["Whatever was given as inputs."],
    )


def comparison_card(result: Result) -> list[Section]:
    """The claim card of a comparison."""
    accuracy, counts, controls = [], [], []
    for variant in result["variants"]:
        found, counted = variant["test_segment_accuracy"], variant["counts"]
        spent = counted.get("zero_skipping", counted["event_driven"])["operations"]  # older ones have no other
        operations = ", ".join(f"{count(spent.get(key, 0.0))} {name}" for key, name in OPERATIONS.items())
        accuracy.append(
            f"{variant['name']}: {found['mean']:.2f} % of test segments, standard deviation {found['std']:.2f} over "
            f"{len(variant['seeds'])} seeds."
        )
        counts.append(
            f"{variant['name']}: {operations}, {'zeros skipped' if 'zero_skipping' in counted else 'event-driven'}."
        )
    for link in (link for chain in result["attribution"] for link in chain["links"]):
        low, high = link["accuracy"]["ci95"]
        added = f"{link['part']}: {link['accuracy']['difference']:+.2f} points ({low:+.2f} to {high:+.2f})"
        controls.append(f"{link['from']} to {link['to']}, {added}.")
    tuned, device = result["tuning"], result["environment"]["device"]
    return card(
        accuracy,
        controls or ["None."],
        counts,
        [chain_verdict(result, chain) for chain in result["attribution"]]
        or ["No chain of controls, so no verdict on spikes."],
        [f"Measured: accuracy and latency on {device}; operations on {result['measured_clips']} clips.", MODELLED],
        [
            f"{tuned['trials']} trials for each variant, on the validation split."
            if tuned
            else "None: settings as given."
        ],
        [f"Protocol {result['protocol']}. {SELECTION[result['protocol']]}"],
    )


def card(*parts: list[str]) -> list[Section]:
    """The sentences of each of `CARD`, but of what is left out."""
    return [
        Section(f"{n}. {heading}", said)
        for n, (heading, said) in enumerate(zip(CARD, [*parts, [LEFT_OUT]], strict=True), 1)
    ]
