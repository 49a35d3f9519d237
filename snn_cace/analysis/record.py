"""The typed record of one measurement of a network. `spikes.json` and `measurements.json` are written
from it, and the comparison reads it back.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import torch
from torch.utils.data import DataLoader

from snn_cace.analysis.anytime import Anytime, anytime, simulation_steps
from snn_cace.analysis.attention import AttentionRecord
from snn_cace.analysis.spikes import (
    LayerSummary,
    NetworkSummary,
    Raster,
    layer_summary,
    network_summary,
    raster,
    record_split,
)
from snn_cace.config import Experiment, hints_of
from snn_cace.counting.costs import ModuleCount
from snn_cace.counting.operations import count_clips
from snn_cace.data.batches import ClipData
from snn_cace.model import Network

VERSION = 3
"""Of the record's layout; runs measured by an older one are measured anew."""
MEASURED_CLIPS = 32
"""Clips of the split over which operations are counted."""


@dataclass
class SpikeRecord:
    """The spiking layers over a split, by name and together, accuracy against simulation steps, and one clip's raster.

    segment_accuracy: percent, of the same pass.
    """

    segment_accuracy: float | None
    layers: dict[str, LayerSummary]
    network: NetworkSummary
    anytime: Anytime
    raster: Raster


@dataclass
class RunRecord:
    """One network on one split.

    kind: whether anything spikes. parameters: numbers that it learns. clips: over how many operations were counted.
    counted: operations per clip, by count and module by module. readers: modules that read rates. idle: leaf modules
    that never ran. slots: modules that fill each. simulation_steps: S per segment of each slot that spikes.
    activation_sparsity: of rectifiers and spiking layers. confusion: segments, rows true, columns predicted, background
    last; class_accuracy: percent right by class. latency_ms: of one clip. device: that it was measured on. nvml: joules
    by the GPU's own meter, where there is one. spikes: None where nothing does. attention: where guidance looks.
    """

    kind: Literal["ann", "snn"]
    parameters: int
    clips: int
    counted: dict[str, list[ModuleCount]]
    readers: list[str]
    idle: list[str]
    slots: dict[str, list[str]]
    simulation_steps: dict[str, int]
    activation_sparsity: float
    classes: list[str]
    spikes: SpikeRecord | None = None
    confusion: list[list[int]] = field(default_factory=list)
    class_accuracy: list[float | None] = field(default_factory=list)
    latency_ms: float | None = None
    device: str | None = None
    nvml: dict[str, float] | None = None
    attention: AttentionRecord | None = None
    version: int = VERSION

    @property
    def modules(self) -> list[ModuleCount]:
        """Counted conservatively."""
        return self.counted["conservative"]

    def as_json(self) -> dict[str, Any]:
        """As measurements.json holds it: what is known of spikes beside the rest, a module's zeros left out."""
        plain = dataclasses.asdict(self)
        for module in (module for modules in plain["counted"].values() for module in modules):
            for part in ("static", "event_driven"):
                module[part] = {name: value for name, value in module[part].items() if value}
        spikes = plain.pop("spikes") or {}
        return plain | spikes

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> RunRecord:
        """What `as_json` made plain."""
        return from_plain(cls, plain | {"spikes": plain if "layers" in plain else None})


def from_plain(kind: Any, plain: Any) -> Any:
    """What `dataclasses.asdict` made `plain` as the type `kind`, a dataclass, or lists, mappings or None of them; keys
    that it does not know are passed over.
    """
    if hasattr(kind, "__dataclass_fields__"):
        hints = hints_of(kind)
        return kind(**{name: from_plain(hints[name], value) for name, value in plain.items() if name in hints})
    inner = next((one for one in reversed(get_args(kind)) if one is not NoneType), None)
    if get_origin(kind) is UnionType and plain is not None:
        return from_plain(inner, plain)
    if get_origin(kind) is list:
        return [from_plain(inner, value) for value in plain]
    if get_origin(kind) is dict:
        return {name: from_plain(inner, value) for name, value in plain.items()}
    return plain


def record_network(
    network: Network,
    data: ClipData,
    split: str,
    clip: int,
    experiment: Experiment,
    device: torch.device,
    quiet: bool = True,
    loader: DataLoader | None = None,
) -> RunRecord:
    """All that may be measured of a network beside other work, so no times: operations on the CPU, spikes on `device`.

    clip: which of the split the raster shows. loader: in place of the split's own.
    """
    dataset, steps = data.dataset(split), simulation_steps(experiment)
    counted = dataset.__getitems__(range(min(MEASURED_CLIPS, len(dataset))))
    count = count_clips(network.to("cpu"), counted["visual"], counted["audio"], counted.get("lengths"))
    record = RunRecord(
        kind="snn" if steps else "ann",
        parameters=sum(p.numel() for p in network.parameters()),
        clips=len(counted["index"]),
        counted=count.counted,
        readers=count.readers,
        idle=count.idle,
        slots=network.slots(),
        simulation_steps=steps,
        activation_sparsity=count.activation_sparsity,
        classes=data.reader.class_names(),
    )
    if steps:
        loader = loader or data.loader(split)
        layers, accuracy = record_split(network, loader, experiment, device, quiet)
        shown = {name: values.to(device) for name, values in dataset.__getitems__([clip]).items()}
        record.spikes = SpikeRecord(
            accuracy,
            {name: layer_summary(layer) for name, layer in layers.items()},
            network_summary(layers.values()),
            anytime(network, loader, experiment, device, quiet),
            raster(network, shown, int(dataset.rows[clip])),
        )
    return record
