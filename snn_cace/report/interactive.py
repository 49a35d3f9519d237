"""The numbers that the report page's script draws, by energy model and count."""

from __future__ import annotations

from typing import Any

from snn_cace.comparison.schema import Attribution, Result, Variant
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.report import figures
from snn_cace.report.conclusions import (
    across_models,
    change_range,
    counterpart,
    energy_steps,
    fewest_seeds,
    in_order_of_steps,
    last_control,
    model_words,
    share_of_dense,
    too_few,
    variant_named,
)

BEST = "best"
COUNT_TITLES = {
    BEST: "each network's best",
    "event_driven": "event-driven: spikes skip zeros",
    "zero_skipping": "zero-skipping: all networks skip zeros",
    "conservative": "conservative: only a block's own layers see spikes",
}


def page_data(result: Result) -> dict[str, Any]:
    """Everything that the page draws, in percent and µJ per clip, as its script takes it."""
    variants = result["variants"]
    models = list(variants[0]["best"])
    counts = [count for count in COUNT_TITLES if count == BEST or count in variants[0]["counts"]]
    return {
        "models": [{"key": model, "title": model_words(model)} for model in models],
        "counts": [{"key": count, "title": COUNT_TITLES[count]} for count in counts],
        "variants": [variant_data(result, v, variants.index(v), counts) for v in in_order_of_steps(result)],
        "chains": [chain_data(result, found, models) for found in result["attribution"]],
    }


def variant_data(result: Result, variant: Variant, place: int, counts: list[str]) -> dict[str, Any]:
    """A network, the ANN that it is compared with, and its last control."""
    dense, control = counterpart(result, variant), last_control(result, variant)
    spent = {count: counted["energy_mj"] for count, counted in variant["counts"].items()}
    spent[BEST] = {model: best["mean"] for model, best in variant["best"].items()}
    return {
        "name": variant["name"],
        "kind": variant["kind"],
        "colour": figures.colour(place),
        "accuracy": {key: variant["test_segment_accuracy"][key] for key in ("mean", "std", "values")},
        "seeds": variant["seeds"],
        "energy": {count: {model: 1000 * mj for model, mj in spent[count].items()} for count in counts},
        "dense": None if dense is None or dense is variant else dense["name"],
        "control": control and control["name"],
    }


def chain_data(result: Result, found: Attribution, models: list[str]) -> dict[str, Any]:
    """The steps of a chain: accuracy in points, energy in percent of the ANN's, each with its interval. Of the last
    step, by model: whether what spikes saves or costs, which fewer than five seeds do not tell, and in words.
    """
    dense = variant_named(result, found["dense"])
    assert dense is not None
    steps: list[dict[str, Any]] = []
    for step in energy_steps(found):
        energy: dict[str, list[Any]] = {}
        for model in models:
            bounds = step["energy"][model]["ci95_mj"] or (None, None)  # none over one seed
            interval = [None if bound is None else 100 * bound / dense["best"][model]["mean"] for bound in bounds]
            energy[model] = [share_of_dense(result, found, step, model), *interval]
        steps.append({"part": step["part"], "energy": energy})
    links = [
        {"part": link["part"], "accuracy": [link["accuracy"]["difference"], *link["accuracy"]["ci95"]]}
        for link in found["links"]
    ]
    seeds, verdicts = fewest_seeds(result), verdicts_of(result, found)
    shares = {model: steps[-1]["energy"][model][0] for model in models}
    return {
        "variant": found["variant"],
        "dense": found["dense"],
        "accuracy": dense["test_segment_accuracy"]["mean"],
        "links": links,
        "steps": steps,
        "verdicts": verdicts,
        "said": {model: energy_words(found, model, shares[model], verdicts[model], seeds) for model in models},
    }


def verdicts_of(result: Result, found: Attribution) -> dict[str, str]:
    """By energy model, what the spikes of a chain do."""
    seeds = fewest_seeds(result)
    return {model: verdict_of(by["ci95_mj"], seeds) for model, by in found["links"][-1]["energy"].items()}


def verdict_of(interval: list[float] | None, seeds: int) -> str:
    """`saves`, `costs`, or neither, of an interval of energy differences over so many seeds; None of one seed."""
    if seeds < ENOUGH_SEEDS or interval is None or interval[0] <= 0 <= interval[1]:
        return ""
    return "saves" if interval[1] < 0 else "costs"


def what_spikes(found: Attribution) -> str:
    """What the last link of a chain tells of: `The spikes of snn`, or `Memory and spikes of snn`."""
    part = found["links"][-1]["part"]
    return f"{'The spikes' if part == 'spikes' else part.capitalize()} of {found['variant']}"


def last_steps(result: Result) -> list[str]:
    """What tells each spiking network from its last control, and why, where that is more than its spikes."""
    names: dict[str, list[str]] = {}
    for found in result["attribution"]:
        names.setdefault(found["links"][-1]["part"], []).append(found["variant"])
    said = []
    for part, spiking in names.items():
        what = "its spikes alone" if part == "spikes" else f"{part}: no control of this comparison tells them apart"
        if part.endswith("memory and spikes"):  # its place in the chain is before bits, but for nodes without a leak
            what = f"{part}: without a leak a neuron has no control leaky, which would keep its memory"
        of = f" of {', '.join(spiking)}" if len(names) > 1 else ""
        said.append(f"The last control{of} differs from the spiking network by {what}.")
    return said


def chain_verdict(result: Result, found: Attribution) -> str:
    """What the last step of a chain does to energy by each model, each network at its best count; whether all agree."""
    if fewest_seeds(result) < ENOUGH_SEEDS:
        return measured_words(result, found)
    return f"{what_spikes(found)} {across_models(verdicts_of(result, found))}"


def measured_words(result: Result, found: Attribution) -> str:
    """Of too few seeds: by which models the last step of a chain took less energy, and by which more."""
    link, seeds = found["links"][-1], fewest_seeds(result)
    shares = {model: share_of_dense(result, found, link, model) for model in link["energy"]}
    by = {"less": [m for m in shares if shares[m] < 0], "more": [m for m in shares if shares[m] >= 0]}
    few, most = sorted(by, key=lambda word: len(by[word]))
    named_models = " and by ".join(f"{model_words(model)} ({abs(shares[model]):.1f} %)" for model in by[few])
    said = f"{few} by {named_models}, {most} by all other models"
    if not named_models:
        said = f"{change_range([1 + share / 100 for share in shares.values()])} by every model"
    few_seeds = f"measured, no finding with {seeds} seed{'s' if seeds > 1 else ''}"
    return f"{what_spikes(found)}, in % of {found['dense']}'s energy ({few_seeds}): {said}."


def energy_words(found: Attribution, model: str, share: float, verdict: str, seeds: int) -> str:
    """What the last step of a chain does to energy, in percent of the ANN's, by one model."""
    what = what_spikes(found)
    how = f"% of {found['dense']}'s energy ({model_words(model)}, each network at its best count)"
    if verdict:
        return f"{what} {verdict[:-1]} {abs(share):.1f} {how}."
    if seeds < ENOUGH_SEEDS:
        return f"{what} changed the energy by {share:+.1f} {how}: {too_few(seeds)}."
    return f"No difference in energy is shown for {what[0].lower()}{what[1:]}: {share:+.1f} {how}."
