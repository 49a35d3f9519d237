"""Audio-visual co-guidance attention (AVCA), one implementation for every guidance mode.

Picture guidance (CMRAN, arXiv:2008.00836, with the self-attended weighting of CMBS, CVPR 2022) weights the channels
and patches of a picture by its own segment's sound. Sound guidance (CACE-Net, MM '24, section 3.2) lets the pictures
of all segments query the sound of all segments. Mode `audio` runs the first, `visual` the second, `co` both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import Linear
from torch.nn import functional as F

from neurons import Dropout, LookBack
from snn_cace.config import ModelConfig


class GuidedFeatures(NamedTuple):
    """visual `[B, T, Cv]`, one vector per segment, and audio `[B, T, Ca]`."""

    visual: torch.Tensor
    audio: torch.Tensor


class Projections(NamedTuple):
    """What attention takes: queries `[..., Q, d]`, keys `[..., M, d]` and values `[..., M, value_dim]`."""

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class UnscaledAttention(nn.Module):
    """softmax(q(x) k(m)^T) v(m): dot-product attention whose energies are not divided by sqrt(d), as in the original.

    Shape: query `[..., Q, query_dim]`, memory `[..., M, memory_dim]` to `[..., Q, value_dim]`.
    """

    def __init__(self, query_dim: int, memory_dim: int, key_dim: int, value_dim: int) -> None:
        super().__init__()
        self.query = Linear(query_dim, key_dim)
        self.key = Linear(memory_dim, key_dim)
        self.value = Linear(memory_dim, value_dim)

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return attend(self.projections(query, memory))

    def projections(self, query: torch.Tensor, memory: torch.Tensor) -> Projections:
        """What `attend` takes."""
        return Projections(self.query(query), self.key(memory), self.value(memory))


def attend(given: Projections, mask: torch.Tensor | None = None) -> torch.Tensor:
    """softmax(queries keys^T) values: `[..., Q, value_dim]`; over the entries whose `mask` is true, `[Q, M]`
    in the last two axes, or all."""
    if given.queries.is_cuda:
        return F.scaled_dot_product_attention(*given, attn_mask=mask, scale=1.0)
    # On a CPU, keys and values of different widths keep PyTorch's fused kernel out; its fallback scales in vain.
    energies = given.queries @ given.keys.transpose(-1, -2)
    if mask is not None:
        energies = energies.masked_fill(~mask, -torch.inf)
    return energies.softmax(-1) @ given.values


def attend_back(given: Projections, look_back: LookBack) -> torch.Tensor:
    """`attend` over segments, of which each sees what `look_back` lets it: `[B, T, value_dim]`."""
    if look_back.streaming:
        entries, seen = look_back.with_past(given.keys, given.values)
        return attend(Projections(given.queries, *entries), seen.unsqueeze(0))
    return attend(given, look_back.mask(given.queries.shape[-2], given.keys.shape[-2], given.keys.device))


class SpatialAttention(nn.Module):
    """A weight per patch from the product of patch and guide, and the patches' weighted sum.

    weights = softmax over patches of tanh(score(relu(patch(x)) * relu(guide(g)))).

    Shape: patches `[B, T, P, Cv]`, guide `[B, T, G]` to `[B, T, Cv]`.
    """

    def __init__(self, visual_dim: int, guide_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.patch = Linear(visual_dim, hidden_dim)
        self.guide = Linear(guide_dim, hidden_dim)
        self.score = Linear(hidden_dim, 1)

    def forward(self, patches: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        return (self.weights(patches, guide).transpose(-1, -2) @ patches).squeeze(-2)

    def weights(self, patches: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """How much of each patch there is in the sum: `[B, T, P, 1]`."""
        joint = F.relu(self.patch(patches)) * F.relu(self.guide(guide)).unsqueeze(-2)
        return torch.tanh(self.score(joint)).softmax(-2)


class ChannelAttention(nn.Module):
    """A weight in (1, 2) per channel of a picture, from its patches and its sound.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, 1, Cv]`.
    """

    def __init__(self, visual_dim: int, audio_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.patch = Linear(visual_dim, visual_dim)
        self.guide = Linear(audio_dim, visual_dim)
        self.bottleneck = Linear(visual_dim, hidden_dim)
        self.weight = Linear(hidden_dim, visual_dim)

    def forward(self, patches: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        joint = F.relu(self.guide(audio)) * F.relu(self.patch(patches)).mean(-2)
        return 1 + torch.sigmoid(self.weight(F.relu(self.bottleneck(joint)))).unsqueeze(-2)


class ChannelSpatialAttention(nn.Module):
    """Sound guides pictures as in CMRAN: patches weighted by channel, then by place.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Cv]`.
    """

    def __init__(self, visual_dim: int, audio_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(visual_dim, audio_dim, hidden_dim)
        self.spatial = SpatialAttention(visual_dim, audio_dim, hidden_dim)

    def forward(self, patches: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return self.spatial(patches * self.channel(patches, audio), audio)


class AudioGuidedVisualAttention(nn.Module):
    """Sound guides pictures: patches weighted by channel and place, then by what the picture itself attends to.

    attended: norm(patches + dropout(self_attention(patches))).

    Shape: patches and attended `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Cv]`.
    """

    def __init__(self, config: ModelConfig, audio_dim: int, key_dim: int, dropout: float) -> None:
        super().__init__()
        visual_dim, hidden_dim, self.beta = config.visual_dim, config.attention_dim, config.beta
        self.self_attention = UnscaledAttention(visual_dim, visual_dim, key_dim, visual_dim)
        self.self_spatial = SpatialAttention(visual_dim, visual_dim, hidden_dim)
        self.channel = ChannelAttention(visual_dim, audio_dim, hidden_dim)
        self.spatial = SpatialAttention(visual_dim, audio_dim, hidden_dim)
        self.dropout = Dropout(dropout)

    def forward(self, patches: torch.Tensor, attended: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        self_guided = self.self_spatial(attended, attended.mean(-2))
        guided = self.spatial(patches * self.channel(attended, audio), audio)
        return guided + self.beta * torch.sigmoid(self_guided) * guided


class VisualGuidedAudioAttention(nn.Module):
    """Pictures guide sound: x (1 + psi sigmoid(g)), where g is the sound that each segment's picture asks for: of all
    segments, or in a causal network of its own and the window - 1 before it.

    attended: norm(patches + dropout(picture_attention(patches))).

    Shape: attended `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Ca]`.
    """

    def __init__(self, config: ModelConfig, audio_dim: int, key_dim: int, dropout: float) -> None:
        super().__init__()
        visual_dim, self.psi = config.visual_dim, config.psi
        window = config.window if config.causal else None
        self.sound_look_back, self.cross_look_back = LookBack(window), LookBack(window)
        self.picture_attention = UnscaledAttention(visual_dim, visual_dim, key_dim, visual_dim)
        self.sound_attention = UnscaledAttention(audio_dim, audio_dim, audio_dim, audio_dim)
        self.sound_norm = nn.LayerNorm(audio_dim)
        self.cross_attention = UnscaledAttention(visual_dim, audio_dim, audio_dim, audio_dim)
        self.dropout = Dropout(dropout)

    def forward(self, attended: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        attended_sound = attend_back(self.sound_attention.projections(audio, audio), self.sound_look_back)
        sound = self.sound_norm(audio + self.dropout(attended_sound))
        gate_logits = attend_back(self.cross_attention.projections(attended.mean(-2), sound), self.cross_look_back)
        return audio + self.psi * torch.sigmoid(gate_logits) * audio


class GuidanceAttention(nn.Module):
    """Patches and sound to one vector each per segment, each guided by the other where `model.guidance` says so.

    Without audio guidance the picture is the mean of its patches; without visual guidance the sound is unchanged. One
    layer norm serves the pictures' self-attention of both branches, as in the original.

    Shape: visual `[B, T, H, W, visual_dim]`, audio `[B, T, audio_dim]` to `GuidedFeatures`.
    """

    def __init__(self, config: ModelConfig, audio_dim: int) -> None:
        super().__init__()
        key_dim = config.key_dim or max(1, config.visual_dim // 4)
        dropout = config.dropout if config.guidance_dropout is None else config.guidance_dropout
        self.picture: AudioGuidedVisualAttention | None = None
        self.sound: VisualGuidedAudioAttention | None = None
        if config.guidance != "none":
            self.visual_norm = nn.LayerNorm(config.visual_dim)
        if config.guidance in ("audio", "co"):
            self.picture = AudioGuidedVisualAttention(config, audio_dim, key_dim, dropout)
        if config.guidance in ("visual", "co"):
            self.sound = VisualGuidedAudioAttention(config, audio_dim, key_dim, dropout)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> GuidedFeatures:
        patches = visual.flatten(2, 3)
        attended = self.attended(patches)
        picture = patches.mean(-2) if self.picture is None else self.picture(patches, attended["picture"], audio)
        sound = audio if self.sound is None else self.sound(attended["sound"], audio)
        return GuidedFeatures(picture, sound)

    def attended(self, patches: torch.Tensor) -> dict[str, torch.Tensor]:
        """norm(patches + dropout(self-attention(patches))) of each branch that there is: `[B, T, P, Cv]`."""
        branches: dict[str, tuple[UnscaledAttention, Dropout]] = {}
        if self.picture is not None:
            branches["picture"] = (self.picture.self_attention, self.picture.dropout)
        if self.sound is not None:
            branches["sound"] = (self.sound.picture_attention, self.sound.dropout)
        return {
            name: self.visual_norm(patches + dropout(attention(patches, patches)))
            for name, (attention, dropout) in branches.items()
        }

    def spatial_attentions(self) -> dict[str, nn.Module]:
        """What weighs patches by the sound and by the picture, where sound guides pictures."""
        if self.picture is None:
            return {}
        return {"spatial": self.picture.spatial, "self_spatial": self.picture.self_spatial}
