"""The page of an audit, and the claim card of an audit or a comparison, from their JSON alone.

The card has the same eight parts in the same order whatever it is made from, and says where nothing is known. The parts
are what Yan et al. (arXiv 2409.08290), STEP (openreview SzwU2XrXIS), NeuroBench's system track and Dodge et al. ("Show
your work", EMNLP 2019) ask to be told.
"""

from __future__ import annotations

from typing import Any

from snn_cace.comparison.schema import Result
from snn_cace.report.comparison import COUNT_WORDS, count, microjoules
from snn_cace.report.conclusions import SELECTION, across_models, attribution_of, model_words
from snn_cace.report.interactive import chain_verdict
from snn_cace.report.page import Section

OPERATIONS = {"macs": "MACs", "narrow_macs": "MACs of few bits", "acs": "ACs", "synops": "of these SynOps"}
TWIN_HEADINGS = ("spiking part, % of its twin", "break-even rate, %")
"""never: even silence costs more than the twin."""
LARGEST = 30
"""Modules that the page lists; the JSON has all."""
LEFT_OUT = (
    "Leakage, clocks, control, and memory that is not named by a model. No chip was measured: energies are counted "
    "operations times published prices."
)
UNKNOWN = "Not known from an audit: it runs a network, and trains none."


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def energy_rows(result: dict[str, Any]) -> list[list[str]]:
    """A row per model: µJ per clip by each count, energy over the twin's and the break-even rate, both in percent."""
    rows = []
    for model in result["counts"]["conservative"]["energy_mj"]:
        spent = [microjoules(result["counts"][name]["energy_mj"][model]) for name in COUNT_WORDS]
        twin = result["against_twin"].get(model, {})
        even = percent(twin["break_even"]) if twin.get("break_even") else "never" if twin else "-"
        rows.append([model_words(model), *spent, percent(twin.get("ratio")), even])
    return rows


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
        said.append(f"{steps} simulation steps; {firing:.4f} spikes per neuron and step.")
    said += [f"Never ran: {', '.join(result['idle'])}."] * bool(result["idle"])
    said += [f"Note: {note}" for note in result.get("notes", [])]
    kinds = ("macs", "narrow_macs", "acs", "synops", "neuron_updates", "weight_reads")
    operations = [[COUNT_WORDS[n], *(count(result["counts"][n]["operations"][k]) for k in kinds)] for n in COUNT_WORDS]
    modules = sorted(result["counts"]["event_driven"]["modules"], key=lambda m: -m["macs"] - m["acs"])
    cost = ("macs", "acs", "neuron_updates", "weight_reads")
    named = [[m["name"] or "the network", m["kind"], *(count(m[key]) for key in cost)] for m in modules[:LARGEST]]
    layers = [
        [name, f"{layer['firing_rate']:.4f}", percent(layer["dead"]), percent(layer["saturated"])]
        for name, layer in result["layers"].items()
    ]
    return [
        Section("What was found", said),
        Section(
            "Energy",
            [
                "Twin: what fires or reads spikes, on values of ceil(log2(T + 1)) bits, run once. Break-even rate: the "
                "firing rate at which both cost the same; never, where even silence costs more."
            ]
            if ratios(result)
            else [],
            ["model", *(f"µJ a clip, {words}" for words in COUNT_WORDS.values()), *TWIN_HEADINGS],
            energy_rows(result),
        ),
        Section(
            "Operations per clip",
            (),
            ["count", "MACs", "of few bits", "ACs", "SynOps", "updates", "weights"],
            operations,
        ),
        Section("Layers that fire", (), ["layer", "firing rate", "dead, %", "saturated, %"], layers),
        Section("Largest modules, event-driven", (), ["module", "kind", "MACs", "ACs", "updates", "weights"], named),
        Section("Left out", [LEFT_OUT]),
    ]


def ratios(result: dict[str, Any]) -> dict[str, float]:
    return {model: found["ratio"] for model, found in result["against_twin"].items()}


def audit_card(result: dict[str, Any]) -> list[Section]:
    """The claim card of an audit."""
    conservative = result["counts"]["conservative"]["operations"]
    counts = ", ".join(f"{count(conservative[key])} {name}" for key, name in OPERATIONS.items())
    return card(
        accuracy=[UNKNOWN],
        controls=[
            "None trained. Counted instead: the same layers on values of few bits, for energy alone."
            if result["against_twin"]
            else "None: the network does not spike."
        ],
        counts=[f"Per clip, conservatively: {counts}.", *(f"Note: {note}" for note in result.get("notes", []))],
        verdict=[audit_verdict(result)],
        measured=f"operations and firing rates, on {result['clips']} clips",
        tuning=[UNKNOWN],
        split=["Whatever was given as inputs."],
    )


def comparison_card(result: Result) -> list[Section]:
    """The claim card of a comparison."""
    accuracy, counts, controls, verdict = [], [], [], []
    for variant in result["variants"]:
        found, counted = variant["test_segment_accuracy"], variant["counts"]
        spent = counted.get("zero_skipping", counted["event_driven"])["operations"]  # older ones have no other
        accuracy.append(
            f"{variant['name']}: {found['mean']:.2f} % of test segments, standard deviation {found['std']:.2f} over "
            f"{len(variant['seeds'])} seeds."
        )
        operations = ", ".join(f"{count(spent.get(key, 0.0))} {name}" for key, name in OPERATIONS.items())
        counts.append(
            f"{variant['name']}: {operations}, {'zeros skipped' if 'zero_skipping' in counted else 'event-driven'}."
        )
        chain = attribution_of(result, variant["name"])
        for link in chain["links"] if chain else ():
            low, high = link["accuracy"]["ci95"]
            added = f"{link['part']}: {link['accuracy']['difference']:+.2f} points ({low:+.2f} to {high:+.2f})"
            controls.append(f"{link['from']} to {link['to']}, {added}.")
        if chain:
            verdict.append(chain_verdict(result, chain))
    tuned = result.get("tuning")
    return card(
        accuracy,
        controls or ["None."],
        counts,
        verdict or ["No chain of controls, so no verdict on spikes."],
        f"accuracy and latency on {result['environment']['device']}; operations on {result['measured_clips']} clips",
        [
            f"{tuned['trials']} trials for each variant, on the validation split."
            if tuned
            else "None: settings as given."
        ],
        [f"Protocol {result['protocol']}. {SELECTION[result['protocol']]}"],
    )


def card(
    accuracy: list[str],
    controls: list[str],
    counts: list[str],
    verdict: list[str],
    measured: str,
    tuning: list[str],
    split: list[str],
) -> list[Section]:
    return [
        Section("1. Accuracy, seeds, protocol", accuracy),
        Section("2. Controls and their results", controls),
        Section("3. Counts", counts),
        Section("4. Verdict of each energy model", verdict),
        Section("5. Measured and modelled", [f"Measured: {measured}.", "Modelled: every energy."]),
        Section("6. Tuning budget", tuning),
        Section("7. Split that was read", split),
        Section("8. Left out", [LEFT_OUT]),
    ]
