"""The base class of networks: features in, a `NetworkOutput` out."""

from __future__ import annotations

import torch
from torch import nn

from neurons import Padded
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape, NetworkOutput
from snn_cace.errors import InputError
from snn_cace.networks import NETWORKS, find_network

FILLED = "filled_slot"
"""The attribute of a module that names the slot it fills; `snn_cace.model.blocks` sets it."""


class Network(Padded):
    """visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `NetworkOutput`.

    shape: of the features it was built for. weak: it learns from labels of clips alone, and scores background as a
    class of the clip, the last. window: segments that it looks back at, where it is causal. top_segments: the fewest
    segments that it takes. enhance: whether contrast-enhanced features are added, where there are any.
    """

    window: int | None = None
    top_segments = 1
    enhance = False

    def __init__(self, shape: FeatureShape, weak: bool = False) -> None:
        super().__init__()
        self.shape, self.weak = shape, weak

    @property
    def scored(self) -> int:
        """Classes of a clip that it scores: C, of a weak network C + 1; heard and seen apart, half of C."""
        return self.shape.classes // 2 if self.shape.labels == "by-modality" else self.shape.classes + self.weak

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> NetworkOutput:
        raise NotImplementedError

    def slots(self) -> dict[str, list[str]]:
        """The names of the modules that fill each slot that it has, dense or spiking."""
        found: dict[str, list[str]] = {}
        for name, module in self.named_modules():
            if hasattr(module, FILLED):
                found.setdefault(getattr(module, FILLED), []).append(name)
        return found

    def spatial_attentions(self) -> dict[str, nn.Module]:
        """What weighs patches, `spatial` by the sound and `self_spatial` by the picture: modules whose `weights` say
        how much of each there is, `[B, T, P, 1]`.
        """
        return {}

    def pooled(self, relevance: torch.Tensor, class_logits: torch.Tensor) -> torch.Tensor:
        """Class logits of a clip `[B, C]` under how relevant its segments are, `[B, T]` in (0, 1), each class by its
        largest segment: a positive logit by the most relevant one, a negative by the least (CMRAN, CMBS).
        """
        return self.masked(relevance.unsqueeze(-1) * class_logits.unsqueeze(1)).amax(1)

    def check(self, visual: torch.Tensor, audio: torch.Tensor) -> None:
        """Raise ValueError, naming both, where features have another shape than the network was built for."""
        want_visual, want_audio = self.shape.visual_channels, self.shape.audio_channels
        if visual.ndim != 5 or visual.shape[-1] != want_visual:
            raise ValueError(f"visual features must be [B, T, H, W, {want_visual}], not {list(visual.shape)}")
        if audio.ndim != 3 or audio.shape[-1] != want_audio or audio.shape[:2] != visual.shape[:2]:
            want = [*visual.shape[:2], want_audio]
            raise ValueError(f"audio features must be {want} beside {list(visual.shape)}, not {list(audio.shape)}")


def build_network(experiment: Experiment, shape: FeatureShape) -> Network:
    """The network that `experiment.model.network` names, with fresh weights, for features of this shape.

    Raises:
        InputError: it does not take segments with so many classes, or not as the experiment asks.
    """
    model, supervision = experiment.model, experiment.training.supervision
    spec = find_network(model.network)
    if shape.labels not in spec.labels:
        others = ", ".join(name for name, other in NETWORKS.items() if shape.labels in other.labels)
        raise InputError(f"model.network: {model.network} does not take {shape.labels} data; give {others}")
    needed = {"multi-label": "full", "by-modality": "weak"}.get(shape.labels, supervision)
    if supervision != needed or (shape.labels != "single" and model.causal):
        key = "model.causal: false" if supervision == needed else f"training.supervision: {needed}"
        raise InputError(f"{key} is what {shape.labels} data needs, with several events a segment")
    return spec.build(model, shape, supervision == "weak")
