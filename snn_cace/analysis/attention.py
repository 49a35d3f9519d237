"""Where guidance attention looks: its weights over the grid of patches, and how often their peak lies on what sounds.

`spatial` is guided by the sound, `self_spatial` by the picture alone. Guidance `none` and `visual` weigh all patches
alike. The pointing game (Zhang et al., IJCV 126, 2018) asks in every event segment whether the largest weight lies on
the object; where all are alike, the chance that a random one does counts. As a control, the same clips muted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_cace.config import AVDigitsConfig
from snn_cace.data.avdigits import make_clips
from snn_cace.data.ave import SPLITS
from snn_cace.model import CaceNet
from snn_cace.model.attention import SpatialAttention

BATCH = 64
MAPS = ("spatial", "self_spatial")


@torch.no_grad()
def attention_maps(network: CaceNet, visual: torch.Tensor, audio: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights `[B, T, H, W]` that sum to 1, by which of `MAPS`: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]`."""
    grid = visual.shape[:4]
    found = {name: torch.full(grid, 1 / (grid[2] * grid[3])) for name in MAPS}
    picture = network.guidance.picture
    if picture is None:
        return found

    def keep(name: str, attention: SpatialAttention) -> torch.utils.hooks.RemovableHandle:
        def hook(module: SpatialAttention, args: tuple) -> None:
            found[name] = module.weights(*args).view(grid).float().cpu()

        return attention.register_forward_pre_hook(hook)

    hooks = [keep(name, getattr(picture, name)) for name in MAPS]
    try:
        network.eval()(visual, audio)
    finally:
        for hook in hooks:
            hook.remove()
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


def digit_places(config: AVDigitsConfig, rows: np.ndarray) -> torch.Tensor:
    """The patches that the class's digit covers in the clips at `rows` of AV-Digits on disk: `[N, T, 7, 7]`."""
    return torch.from_numpy(np.concatenate([make_clips(config, split).places for split in SPLITS])[rows])


@torch.no_grad()
def pointing(
    network: CaceNet, visual: torch.Tensor, audio: torch.Tensor, labels: torch.Tensor, places: torch.Tensor
) -> dict[str, Pointing]:
    """Over clips of visual `[N, T, H, W, Cv]`, audio `[N, T, Ca]`, labels `[N, T, C + 1]` and places `[N, T, H, W]`."""
    event = labels[..., -1] == 0
    runs = {}
    for name, sound in (("heard", audio), ("muted", torch.zeros_like(audio))):
        parts = [attention_maps(network, v, a) for v, a in zip(visual.split(BATCH), sound.split(BATCH), strict=True)]
        runs[name] = {key: torch.cat([part[key] for part in parts]) for key in MAPS}
    chance = 100 * float(places.flatten(-2).float().mean(-1)[event].mean())

    def accuracy(name: str, key: str) -> float:
        return 100 * float(hits(runs[name][key], places)[event].mean())

    return {key: Pointing(accuracy("heard", key), accuracy("muted", key), chance, int(event.sum())) for key in MAPS}
