"""comparison.json from finished runs: means over seeds, differences and how sure they are, energies, break-even."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from snn_cace.analysis.anytime import Anytime
from snn_cace.analysis.attention import Pointing, side_by_side
from snn_cace.analysis.record import RunRecord
from snn_cace.comparison.attribution import attribution, chain_of
from snn_cace.comparison.measurements import read_measurements
from snn_cace.comparison.plan import Plan, Run
from snn_cace.comparison.schema import VERSION, Best, Counted, CountedBeside, Result, Spread, Variant
from snn_cace.comparison.statistics import paired_tests
from snn_cace.config import Experiment, as_dict, carried_slots
from snn_cace.counting.energy import (
    MILLIJOULES_PER_PICOJOULE,
    Energy,
    Prices,
    break_even_rate,
    energies_mj,
    energy,
    sources,
    with_reuse,
)
from snn_cace.counting.operations import COUNTS, ModuleCount, summed
from snn_cace.data.readers import data_title, reader_name
from snn_cace.files import read_json
from snn_cace.networks import find_network
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.metrics import PADDING

MODULE_FIELDS = ("macs", "narrow_macs", "acs", "synops", "comparisons", "transcendental", "neuron_updates")
BYTES_PER_WORD = 4


@dataclass
class Measured:
    """A finished run with what it wrote."""

    run: Run
    metrics: dict[str, Any]
    record: RunRecord

    @classmethod
    def of(cls, run: Run) -> Measured:
        return cls(run, read_json(run.files.metrics), read_measurements(run.files))

    @property
    def experiment(self) -> Experiment:
        return self.run.experiment

    def modules(self, count: str) -> list[ModuleCount]:
        return self.record.counted[count]

    def touched(self, within: Compared, count: str) -> list[ModuleCount]:
        """The modules that fill the compared slots, with all below them, and readers of rates, whichever count."""
        return [m for m in self.modules(count) if self.slot_of(m.name) in within.slots or m.name in within.readers]

    def compared(self, within: Compared, count: str) -> list[ModuleCount]:
        """As `touched`, but conservatively without readers."""
        return self.touched(Compared(within.slots, []) if count == "conservative" else within, count)

    def slot_of(self, name: str) -> str | None:
        slots = self.record.slots.items()
        return next((slot for slot, roots in slots for root in roots if f"{name}.".startswith(f"{root}.")), None)


@dataclass
class Compared:
    """The part of a network that is compared: its slots, and modules elsewhere that read the rates of spikes."""

    slots: list[str]
    readers: list[str]

    @classmethod
    def of(cls, measured: Measured) -> Compared:
        record = measured.record
        readers = [name for name in record.readers if measured.slot_of(name) is None]
        return cls(sorted(record.simulation_steps), readers)


def compared_slots(experiments: Iterable[Experiment]) -> list[str]:
    """Slots that spike in at least one of the experiments."""
    return sorted({s for e in experiments for s, slot in e.model.slots.every().items() if slot.spikes})


def network_of(experiment: Experiment) -> tuple[str, ...]:
    """What must be the same for two variants to be compared with each other block by block."""
    model = experiment.model
    return model.network, experiment.training.supervision, *find_network(model.network).variant(model)


def kind_of(experiment: Experiment) -> str:
    """`snn` where something spikes, `control` where something is a control and nothing spikes, else `ann`."""
    slots = experiment.model.slots.every().values()
    if any(slot.spikes for slot in slots):
        return "snn"
    return "ann" if all(slot.is_dense for slot in slots) else "control"


@dataclass
class Family:
    """The variants of one network: its first ANN, which its spiking ones are compared with, and every spiking slot."""

    dense: list[Measured] | None
    within: Compared

    @classmethod
    def of(cls, members: list[list[Measured]]) -> Family:
        dense = next((runs for runs in members if kind_of(runs[0].experiment) == "ann"), None)
        spiking = [runs[0] for runs in members if runs[0].record.kind == "snn"]
        readers = dict.fromkeys(name for measured in spiking for name in Compared.of(measured).readers)
        return cls(dense, Compared(compared_slots(runs[0].experiment for runs in members), list(readers)))


def summarise(
    plan: Plan,
    runs: list[Run],
    failed: list[dict[str, Any]],
    prices: Prices,
    groups: Mapping[str, np.ndarray] | None = None,
) -> Result:
    """What comparison.json holds, see DESIGN: all that a report needs. Tested are the plan's pairs, every variant
    against the first, a spiking one against its own ANN, and every link of its chain of controls. groups: recordings
    that test clips share, see `comparison.statistics`.
    """
    by_variant: dict[str, list[Measured]] = {}
    for run in runs:
        if run.finished and not any((run.experiment.name, run.seed) == (f["variant"], f["seed"]) for f in failed):
            by_variant.setdefault(run.experiment.name, []).append(Measured.of(run))
    networks = {name: network_of(members[0].experiment) for name, members in by_variant.items()}
    # An ANN is compared in all that spikes or reads rates in any variant of the same network.
    families = {
        network: Family.of([by_variant[name] for name in networks if networks[name] == network])
        for network in networks.values()
    }
    controls = {control.name: control for control in plan.controls}
    variants = {}
    for name, members in by_variant.items():
        # A control is compared in what its own spiking variant has and reads.
        of = by_variant.get(controls[name].of, members) if name in controls else members
        variants[name] = summarise_variant(members, of[0], families[networks[name]], prices)
    for name, variant in variants.items():
        known, control = plan.comparison.published.get(name), controls.get(name)
        variant["published"] = vars(known) if known else None
        variant["control"] = vars(control) if control else None
    scores = {name: {m.run.seed: segment_scores(m.run.files) for m in members} for name, members in by_variant.items()}
    baseline = next(iter(scores))
    chains = []
    for variant in variants.values():
        if variant["kind"] == "snn" and variant["dense_counterpart"]:
            model = by_variant[variant["name"]][0].experiment.model
            remembers = bool(carried_slots(model)), bool(carried_slots(model, leaky=False))
            chains.append(chain_of(variant, plan.controls, by_variant, *remembers))
    own, links = [chain.whole for chain in chains], [pair for chain in chains for pair in chain.pairs]
    against = [(name, baseline) for name in scores if name != baseline and name not in controls]
    wanted = dict.fromkeys([*against, *own, *links, *plan.pairs])
    tests = paired_tests(scores, [pair for pair in wanted if scores.keys() >= {*pair}], groups)
    first, measured = runs[0].experiment, by_variant[baseline][0]
    return {
        "version": VERSION,
        "name": plan.comparison.name,
        "dataset": data_title(first.data),
        "dataset_config": as_dict(first.data.avdigits) if reader_name(first.data) == "avdigits" else {},
        "protocol": first.training.protocol,
        "precision": str(first.training.precision),
        "environment": read_json(measured.run.files.provenance)["environment"],
        "measured_clips": measured.record.clips,
        "test_clips": len(next(iter(scores[baseline].values()))),
        "classes": measured.record.classes,
        "compared_slots": compared_slots(run.experiment for run in runs),
        "attention": attention({variant: members[0].record for variant, members in by_variant.items()}),
        "baseline": baseline,
        "dense_baseline": next((name for name, variant in variants.items() if variant["kind"] == "ann"), None),
        "energy_models": list(prices),
        "reusing_models": with_reuse(prices),
        "prices": sources(prices),
        "variants": [*variants.values()],
        "tests": tests,
        "attribution": [attribution(chain, variants, tests) for chain in chains if chain.is_complete(tests)],
        "failed": failed,
        "runs": [
            {
                "variant": variant,
                "seed": member.run.seed,
                "directory": str(member.run.files.directory),
                "best_epoch": member.metrics["best_epoch"],
                "segment_accuracy": member.metrics["test"]["segment_accuracy"],
                "warnings": member.metrics.get("warnings", member.metrics.get("complaints", [])),
                "history": read_json(member.run.files.history),
            }
            for variant, members in by_variant.items()
            for member in members
        ],
    }


def mean_std(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (0 of one value), and the values."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "values": list(values)}


def mean_of(values: Sequence[Any]) -> Any:
    """Mean over seeds of numbers, of lists and of dicts of them, number by number; None where one is missing."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        return {key: mean_of([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], list):
        return [mean_of(list(parts)) for parts in zip(*values, strict=True)]
    return fmean(values)


def summarise_variant(members: list[Measured], of: Measured, family: Family, prices: Prices) -> Variant:
    """One variant; operations and energies by each count, and its best count by each energy model. of: of a control,
    the spiking variant that it is a control of, else itself.
    """
    records, experiment, dense = [member.record for member in members], members[0].experiment, family.dense
    within = Compared.of(of) if of.record.kind == "snn" else family.within
    fired = [r.spikes for r in records if r.spikes is not None]
    per_layer = mean_of([{name: layer.firing_rate for name, layer in f.layers.items()} for f in fired] or [{}])
    counts = {count: summarise_count(members, within, dense, prices, count) for count in COUNTS}
    result: Variant = {
        "name": experiment.name,
        "kind": kind_of(experiment),
        "network": experiment.model.network,
        "dense_counterpart": dense[0].experiment.name if dense else None,
        "seeds": [member.run.seed for member in members],
        "test_segment_accuracy": mean_std([member.metrics["test"]["segment_accuracy"] for member in members]),
        "parameters": records[0].parameters,
        "counts": counts,
        "best": best_counts(counts),
        "readers": within.readers if fired else [],
        "simulation_steps": records[0].simulation_steps,
        "firing_rate": {"mean": fmean(f.network.firing_rate for f in fired) if fired else None, "per_layer": per_layer},
        "activation_sparsity": fmean(r.activation_sparsity for r in records),
        "train_seconds": fmean(member.metrics["train_seconds"] for member in members),
        "latency_ms": fmean(r.latency_ms or 0.0 for r in records),
        "peak_memory_mb": fmean(member.metrics["peak_memory_mb"] for member in members),
        "joules_per_clip": mean_of([(r.nvml or {}).get("joules_per_clip") for r in records]),
        "state_bytes": BYTES_PER_WORD * sum(module.state for module in records[0].modules),
        "idle_modules": records[0].idle,
        "pointing": pointing([r.attention.pointing if r.attention else None for r in records]),
        "class_accuracy": mean_of([[value or 0.0 for value in r.class_accuracy] for r in records]),
        "confusion": np.sum([r.confusion for r in records], axis=0).tolist(),
        "config": without_seed(experiment),
    }
    if fired:
        result["layers"] = mean_of([{name: vars(layer) for name, layer in f.layers.items()} for f in fired])
        result["anytime"] = mean_anytime([f.anytime for f in fired])
        result["raster"] = fired[0].raster
    return result


def best_counts(counts: dict[str, Counted]) -> dict[str, Best]:
    """By energy model, the count in which a network costs least: mean and values over seeds, millijoules per clip."""
    best: dict[str, Best] = {}
    for model in next(iter(counts.values()))["energy_mj"]:
        name = min(counts, key=lambda count: counts[count]["energy_mj"][model])
        best[model] = {"count": name, **mean_std(counts[name]["energy_values_mj"][model])}
    return best


def attention(records: dict[str, RunRecord]) -> dict[str, Any] | None:
    """The drawn clips as every variant's first seed looks at them; None where one was measured without."""
    looks = {name: record.attention for name, record in records.items() if record.attention is not None}
    if len(looks) < len(records):
        return None
    return {"map": next(iter(looks.values())).map, "clips": side_by_side(looks)}


def pointing(records: list[dict[str, Pointing] | None]) -> dict[str, Any] | None:
    """By map, over seeds: percent of event segments in which the peak lies on the object, also muted, and chance."""
    known = [record for record in records if record is not None]
    if len(known) < len(records):
        return None
    return {
        name: {
            "accuracy": mean_std([record[name].accuracy for record in known]),
            "muted": mean_std([record[name].muted for record in known]),
            "chance": known[0][name].chance,
        }
        for name in known[0]
    }


def summarise_count(
    members: list[Measured], within: Compared, dense: list[Measured] | None, prices: Prices, count: str
) -> Counted:
    """Operations and energies by one of `COUNTS`; of a variant that spikes, beside the blocks that it replaces too."""
    blocks = [member.compared(within, count) for member in members]
    whole = [energies_mj(member.modules(count), prices) for member in members]
    energies = [energies_mj(modules, prices) for modules in blocks]
    touched = [energies_mj(member.touched(within, count), prices) for member in members]
    total = mean_of([vars(summed(member.modules(count))) for member in members])
    result: Counted = {
        "operations": total,
        "energy_mj": mean_of(whole),
        "energy_values_mj": {model: [energies[model] for energies in whole] for model in whole[0]},
        "touched_values_mj": {model: [energies[model] for energies in touched] for model in whole[0]},
        "spiking_blocks": {
            **mean_of([vars(summed(modules)) for modules in blocks]),
            "energy_mj": mean_of(energies),
            "slots": within.slots,
            "parameters": parameters_of(blocks[0]),
            "share": {m: fmean(w[m] / t[m] for w, t in zip(energies, whole, strict=True)) for m in whole[0]},
        },
        "modules": module_table(members, prices, count),
    }
    if members[0].record.kind == "snn":
        result |= beside_replaced(blocks, [member.compared(within, count) for member in dense or ()], prices)
    return result


def parameters_of(modules: Sequence[ModuleCount]) -> int:
    return sum(module.parameters for module in modules)


def without_seed(experiment: Experiment) -> dict[str, Any]:
    config = as_dict(experiment)
    del config["training"]["seed"]
    return config


def module_table(members: list[Measured], prices: Prices, count: str) -> list[dict[str, Any]]:
    """Every module that does anything, with its own operations and energies; means over seeds."""
    rows = []
    counted = [member.modules(count) for member in members]
    for index, module in enumerate(counted[0]):
        same = [modules[index] for modules in counted]
        operations = mean_of([vars(other.total) for other in same])
        if not any(operations.values()):
            continue
        rows.append(
            {
                "name": module.name or "(between modules)",
                "kind": module.kind,
                "slot": members[0].slot_of(module.name),
                "parameters": module.parameters,
                "state": module.state,
                "bits": module.bits,
                **{name: operations[name] for name in MODULE_FIELDS},
                "firing_rate": mean_of([other.firing_rate for other in same]),
                "energy_mj": {
                    model: fmean(energy([other], model, prices).millijoules for other in same) for model in prices
                },
            }
        )
    return rows


def mean_anytime(parts: list[Anytime]) -> dict[str, Any]:
    """Accuracy at each depth and exit, with its spread over seeds."""
    result: dict[str, Any] = dict(parts[0])
    for name in ("depths", "early_exit"):
        result[name] = [
            {**mean_of(list(points)), "segment_accuracy": mean_std([p["segment_accuracy"] for p in points])}
            for points in zip(*(dict(part)[name] for part in parts), strict=True)
        ]
    return result


def beside_replaced(
    blocks: list[list[ModuleCount]], replaced: list[list[ModuleCount]], prices: Prices
) -> CountedBeside:
    """What the dense modules that the compared ones replace cost, and the firing rate at which both would cost as much.
    blocks, replaced: of each seed; replaced is empty where there is no ANN.
    """
    if not replaced:
        return {"break_even": None, "replaced_blocks_energy_mj": None, "replaced_blocks_parameters": None}
    rate = fmean(blocks_firing_rate(modules) for modules in blocks)
    dense, points = {}, {}
    for model in prices:
        dense[model] = fmean(energy(modules, model, prices).total for modules in replaced)
        spent = [energy(modules, model, prices) for modules in blocks]
        spiking = Energy(fmean(e.static for e in spent), fmean(e.event_driven for e in spent))
        found = break_even_rate(spiking, dense[model], rate)
        points[model] = {
            "rate": None if found is None or math.isinf(found) else found,
            "verdict": "never" if found is None else "always" if found >= 1 else "below",
        }
    return {
        "break_even": {"points": points},
        "replaced_blocks_energy_mj": {model: MILLIJOULES_PER_PICOJOULE * total for model, total in dense.items()},
        "replaced_blocks_parameters": parameters_of(replaced[0]),
    }


def blocks_firing_rate(modules: Sequence[ModuleCount]) -> float:
    spikes = sum(module.spikes or 0.0 for module in modules)
    return spikes / max(1.0, sum(module.static.neuron_updates for module in modules))


def segment_scores(files: RunFiles) -> np.ndarray:
    """100 where a segment is right, else 0, clip by clip of the test split, in the order of rows on disk: `[N, T]`; NaN
    in padding.
    """
    with np.load(files.predictions) as stored:
        order = np.argsort(stored["index"])
        scores = 100.0 * (stored["segment_class"] == stored["segment_target"])[order]
        return np.where(stored["segment_target"][order] == PADDING, np.nan, scores)
