"""The numbers that the report page's script draws, by energy model and count."""

from __future__ import annotations

from typing import Any

from snn_cace.comparison.schema import Attribution, Result, Variant
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.report import figures
from snn_cace.report.conclusions import (
    across_models,
    counterpart,
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
    """A network, the ANN that it is compared with, and the control that it differs from by its spikes alone."""
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
    step, the spikes, by model: whether they save or cost, which fewer than five seeds do not tell, and in words.
    """
    dense = variant_named(result, found["dense"])
    assert dense is not None
    links: list[dict[str, Any]] = []
    for link in found["links"]:
        energy: dict[str, list[Any]] = {}
        for model in models:
            bounds = link["energy"][model]["ci95_mj"] or (None, None)  # none over one seed
            interval = [None if bound is None else 100 * bound / dense["best"][model]["mean"] for bound in bounds]
            energy[model] = [share_of_dense(result, found, link, model), *interval]
        accuracy = [link["accuracy"]["difference"], *link["accuracy"]["ci95"]]
        links.append({"part": link["part"], "to": link["to"], "accuracy": accuracy, "energy": energy})
    seeds, verdicts = fewest_seeds(result), verdicts_of(result, found)
    shares = {model: links[-1]["energy"][model][0] for model in models}
    return {
        "variant": found["variant"],
        "dense": found["dense"],
        "accuracy": dense["test_segment_accuracy"]["mean"],
        "links": links,
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


def chain_verdict(result: Result, found: Attribution) -> str:
    """What the spikes of a chain do to energy by each model, each network at its best count, and whether all agree."""
    if fewest_seeds(result) < ENOUGH_SEEDS:
        return f"The spikes of {found['variant']}: too few seeds to conclude from, by whichever model."
    return f"The spikes of {found['variant']} {across_models(verdicts_of(result, found))}"


def energy_words(found: Attribution, model: str, share: float, verdict: str, seeds: int) -> str:
    """What the spikes of a chain do to energy, in percent of the ANN's, by one model."""
    name = found["variant"]
    how = f"% of {found['dense']}'s energy ({model_words(model)}, each network at its best count)"
    if verdict:
        return f"The spikes of {name} {verdict[:-1]} {abs(share):.1f} {how}."
    if seeds < ENOUGH_SEEDS:
        return f"The spikes of {name} changed the energy by {share:+.1f} {how}: {too_few(seeds)}."
    return f"No difference in energy is shown for the spikes of {name}: {share:+.1f} {how}."
