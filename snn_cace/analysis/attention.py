"""Where guidance attention looks: its weights over the grid of patches, and how often their peak lies on what sounds.

`spatial` is guided by the sound, `self_spatial` by the picture alone. A network without one weighs all patches alike.
The pointing game (Zhang et al., IJCV 126, 2018) asks in every event segment whether the largest weight lies on
the object; where all are alike, the chance that a random one does counts. As a control, the same clips muted.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from snn_cace.data.batches import ClipDataset, without_padding
from snn_cace.model import Network

BATCH = 64
MAPS = ("spatial", "self_spatial")


@torch.no_grad()
def attention_maps(network: Network, visual: torch.Tensor, audio: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights `[B, T, H, W]` that sum to 1, by which of `MAPS`: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]`."""
    grid = visual.shape[:4]
    found = {name: torch.full(grid, 1 / (grid[2] * grid[3])) for name in MAPS}
    attentions = network.spatial_attentions()
    if not attentions:
        return found

    def keep(name: str, module: Any, args: tuple) -> None:
        found[name] = module.weights(*args).view(grid).float().cpu()

    with ExitStack() as hooks:
        for name, attention in attentions.items():
            hooks.enter_context(attention.register_forward_pre_hook(partial(keep, name)))
        network.eval()(visual, audio)
    return found


def hits(weights: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """Of each map `[..., H, W]`, the share of its largest weights that lie on the object `[..., H, W]`: `[...]`."""
    flat, on = weights.flatten(-2), objects.flatten(-2).to(weights.dtype)
    largest = (flat >= flat.amax(-1, keepdim=True)).to(weights.dtype)
    return (largest * on).sum(-1) / largest.sum(-1)


@dataclass
class Pointing:
    """Percent of event segments in which the attention's peak lies on the class's digit; muted: the same clips without
    sound; chance: what a random patch would reach.
    """

    accuracy: float
    muted: float
    chance: float
    segments: int


@torch.no_grad()
def pointing(
    network: Network, visual: torch.Tensor, audio: torch.Tensor, labels: torch.Tensor, places: torch.Tensor
) -> dict[str, Pointing]:
    """Over clips of visual `[N, T, H, W, Cv]`, audio `[N, T, Ca]`, labels `[N, T, C + 1]` and places `[N, T, H, W]`, by
    which of `MAPS` the network has; by all of them where it weighs patches alike.
    """
    maps = list(network.spatial_attentions()) or MAPS
    event = labels[..., -1] == 0
    runs = {}
    for name, sound in (("heard", audio), ("muted", torch.zeros_like(audio))):
        parts = [attention_maps(network, v, a) for v, a in zip(visual.split(BATCH), sound.split(BATCH), strict=True)]
        runs[name] = {key: torch.cat([part[key] for part in parts]) for key in maps}
    chance = 100 * float(places.flatten(-2).float().mean(-1)[event].mean())

    def accuracy(name: str, key: str) -> float:
        return 100 * float(hits(runs[name][key], places)[event].mean())

    return {key: Pointing(accuracy("heard", key), accuracy("muted", key), chance, int(event.sum())) for key in maps}


@dataclass
class AttendedClip:
    """A clip that attention is drawn over, by segment: true and predicted classes, weights `[T, H, W]`, and pictures
    `[T, height, width]` or with three colours, in [0, 1]. index: its row on disk.
    """

    index: int
    truth: list[int]
    predicted: list[int]
    weights: list
    pictures: list


@dataclass
class AttentionRecord:
    """Where a network's guidance attention looks. pointing: by which of `MAPS`; None where no object's place is known.
    map: which of `MAPS` the clips have.
    """

    map: str
    pointing: dict[str, Pointing] | None
    clips: list[AttendedClip]


def spread(dataset: ClipDataset, clips: int) -> list[int]:
    """Positions of so many clips of a split, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, len(dataset) - 1, min(clips, len(dataset))).astype(int)).tolist()


def record_attention(
    network: Network, dataset: ClipDataset, chosen: list[int], map: str = MAPS[0], pictures: np.ndarray | None = None
) -> AttentionRecord:
    """Of the clips at positions `chosen`, and over all of the split where its reader knows the place of what sounds; on
    the CPU.

    pictures: what was seen in the chosen clips, `[N, T, height, width]` or with three colours, in [0, 1]; without them
    what the reader makes of the features.
    """
    network = network.to("cpu", dataset.dtype).eval()
    points = None
    places = dataset.reader.places(dataset.rows)
    if places is not None:
        every = without_padding(dataset.__getitems__(range(len(dataset))))
        points = pointing(network, every["visual"], every["audio"], every["labels"], torch.from_numpy(places))
    drawn = without_padding(dataset.__getitems__(chosen))
    weights = attention_maps(network, drawn["visual"], drawn["audio"])[map].numpy()
    with torch.no_grad():
        predicted = network(drawn["visual"], drawn["audio"]).segment_predictions()
    if pictures is None:
        pictures = dataset.reader.pictures(drawn["visual"].float().numpy())
    clips = [
        AttendedClip(index, truth, classes, rounded(map_), rounded(seen))
        for index, truth, classes, map_, seen in zip(
            dataset.rows[chosen].tolist(),
            drawn["labels"].argmax(-1).tolist(),
            predicted.tolist(),
            weights,
            pictures,
            strict=True,
        )
    ]
    return AttentionRecord(map, points, clips)


def rounded(values: np.ndarray) -> list:
    return values.astype(np.float64).round(4).tolist()


def side_by_side(records: dict[str, AttentionRecord]) -> list[dict[str, Any]]:
    """The same clips as each of the named networks sees them, plain: what a figure of a clip is drawn from."""
    return [
        {
            "index": looks[0].index,
            "truth": looks[0].truth,
            "pictures": looks[0].pictures,
            "networks": [
                {"name": name, "weights": look.weights, "predicted": look.predicted}
                for name, look in zip(records, looks, strict=True)
            ],
        }
        for looks in zip(*(record.clips for record in records.values()), strict=True)
    ]
