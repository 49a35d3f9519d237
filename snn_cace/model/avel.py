"""AVEL: audio-visual event localisation in unconstrained videos (Tian et al., ECCV 2018), fully and weakly supervised.

The rows of the paper's table are `model.avel.inputs` (`audio`, `visual`, `both`), `model.guidance` (`audio` attends to
pictures by the sound, `none` takes their mean) and `model.avel.fusion`. Its repository holds classes for both with
attention and for DMRN only; the other rows are built from the paper's description.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import Linear
from torch.nn import functional as F

from neurons import SpikingMLP
from snn_cace.config import ModelConfig
from snn_cace.contracts import FeatureShape, SegmentOutput
from snn_cace.model.blocks import fill, temporal_encoders
from snn_cace.model.network import Network
from snn_cace.model.relation import FeedForward


class SoundGuidedAttention(nn.Module):
    """A picture's patches weighted by its segment's sound, and their weighted sum.

    weights = softmax over patches of h . tanh(V relu(patch(x)) + G relu(guide(g))), the sum over units u. `reference`
    adds the sound's unit p to all units of patch p, as the original's code does, which takes as many units as patches.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Cv]`.
    """

    def __init__(self, visual_dim: int, audio_dim: int, hidden: int, units: int, reference: bool) -> None:
        super().__init__()
        self.reference = reference
        self.patch, self.guide = Linear(visual_dim, hidden), Linear(audio_dim, hidden)
        self.patch_units = Linear(hidden, units, bias=False)
        self.guide_units = Linear(hidden, units, bias=False)
        self.score = Linear(units, 1, bias=False)
        start_glorot(self)

    def forward(self, patches: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return (self.weights(patches, audio).transpose(-1, -2) @ patches).squeeze(-2)

    def weights(self, patches: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """How much of each patch there is in the sum: `[B, T, P, 1]`."""
        return self.energies(patches, audio).softmax(-2)

    def energies(self, patches: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        patch_scores = self.patch_units(F.relu(self.patch(patches)))
        audio_scores = self.guide_units(F.relu(self.guide(audio)))
        if self.reference and patch_scores.shape[-2] != patch_scores.shape[-1]:
            wanted = patch_scores.shape[-2]
            raise ValueError(f"model.reference: AVEL's original has a unit per patch; set model.avel.units to {wanted}")
        return self.score(torch.tanh(patch_scores + audio_scores.unsqueeze(-1 if self.reference else -2)))


class ResidualFusion(nn.Module):
    """The dual multimodal residual network (DMRN): each modality plus what both have in common; then their mean.

    Shape: audio and visual `[B, T, d]` to `[B, T, d]`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.audio, self.visual = (
            nn.Sequential(Linear(width, width), nn.Tanh(), Linear(width, width)) for _ in range(2)
        )

    def forward(self, audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        merged = (self.visual(visual) + self.audio(audio)) / 2
        return (torch.tanh(audio + merged) + torch.tanh(visual + merged)) / 2


class AvelNet(Network):
    """A temporal encoder per modality, their fusion, and a classifier of segments.

    Weakly supervised it is the same: the clip's logits are, class by class, the largest over segments.

    Shape: visual `[B, T, H, W, Cv]` and audio `[B, T, Ca]` to a `SegmentOutput`.
    """

    def __init__(self, config: ModelConfig, shape: FeatureShape, weak: bool = False) -> None:
        super().__init__(shape, weak)
        avel, d, classes = config.avel, config.d_model, shape.classes + 1
        has_audio, has_visual = avel.inputs != "visual", avel.inputs != "audio"
        self.attention: SoundGuidedAttention | None = None
        if has_visual and config.guidance == "audio":
            sizes = (shape.visual_channels, shape.audio_channels, config.attention_dim, avel.units)
            self.attention = SoundGuidedAttention(*sizes, config.reference)
        channels = [shape.audio_channels] * has_audio + [shape.visual_channels] * has_visual
        encoders = temporal_encoders(config, *((inputs, d) for inputs in channels))
        self.audio_temporal = encoders[0] if has_audio else None
        self.visual_temporal = encoders[-1] if has_visual else None
        self.fusion: ResidualFusion | None = None
        if avel.fusion == "residual":
            self.fusion = ResidualFusion(d)
            self.classifier: nn.Module = Linear(d, classes)
        else:
            width = d * len(encoders)
            self.classifier = fill(
                config,
                "feed_forward",
                lambda dense: FeedForward(width, avel.hidden, 0.0, dense, classes),
                lambda block, kind: SpikingMLP(width, avel.hidden, classes, 0.0, block, kind),
            )
        start_glorot(self.classifier)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> SegmentOutput:
        self.check(visual, audio)
        encoded = []
        if self.audio_temporal is not None:
            encoded.append(self.audio_temporal(audio))
        if self.visual_temporal is not None:
            patches = visual.flatten(2, 3)
            picture = patches.mean(-2) if self.attention is None else self.attention(patches, audio)
            encoded.append(self.visual_temporal(picture))
        fused = F.relu(torch.cat(encoded, dim=-1)) if self.fusion is None else self.fusion(*encoded)
        segment_logits = self.classifier(fused)
        largest = self.masked(segment_logits).amax(1)
        return SegmentOutput(
            segment_relevance=segment_logits[..., :-1].amax(-1) - segment_logits[..., -1],
            event_logits=largest if self.weak else largest[:, :-1],
            segment_logits=segment_logits,
            clip_logits=largest if self.weak else None,
        )

    def spatial_attentions(self) -> dict[str, nn.Module]:
        return {} if self.attention is None else {"spatial": self.attention}


def start_glorot(module: nn.Module) -> None:
    """Weights of a module's own linear layers start Xavier uniform, as in the original."""
    for layer in [module, *module.children()]:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
