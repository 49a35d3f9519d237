"""Audio-visual co-guidance attention (AVCA), one implementation for every guidance mode.

Picture guidance (CMRAN, arXiv:2008.00836, with the self-attended weighting of CMBS, CVPR 2022) weights the channels
and patches of a picture by its own segment's sound. Sound guidance (CACE-Net, MM '24, section 3.2) lets the pictures
of all segments query the sound of all segments. Mode `audio` runs the first, `visual` the second, `co` both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neurons import Linear, linear, listened
from snn_cace.model.dropout import Dropout, has_kernels
from snn_cace.model.residual import residual_norm
from snn_cace.model.scores import PatchScores


class GuidedFeatures(NamedTuple):
    """visual `[B, T, Cv]`, one vector per segment, and audio `[B, T, Ca]`."""

    visual: torch.Tensor
    audio: torch.Tensor


class Parts(torch.autograd.Function):
    """`[..., a + b + ...]` to `[..., a]`, `[..., b]`, ...: torch's `split`, but on the way back each gradient is copied
    straight into its place, by all threads; torch's own concatenates in one thread and then copies into order.
    """

    @staticmethod
    def forward(ctx: Any, joined: torch.Tensor, sizes: Sequence[int]) -> tuple[torch.Tensor, ...]:
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return joined.split(sizes, dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
        given = next((gradient for gradient in gradients if gradient is not None), None)
        if given is None:
            return None, None
        joined = given.new_empty(*given.shape[:-1], sum(ctx.sizes))
        for part, gradient in zip(joined.split(ctx.sizes, dim=-1), gradients, strict=True):
            part.zero_() if gradient is None else part.copy_(gradient)
        return joined, None


def project(values: torch.Tensor, *layers: nn.Linear) -> Sequence[torch.Tensor]:
    """What each of several linear layers makes of the same values, in one matrix product.

    One by one where a hook listens to a layer, so that whoever counts or records sees each.
    """
    if len(layers) == 1 or any(map(listened, layers)):
        return [layer(values) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    joined, sizes = linear(values, weight, bias), [layer.out_features for layer in layers]
    return joined.split(sizes, dim=-1) if torch.compiler.is_compiling() else Parts.apply(joined, sizes)


def mean_of_patches(values: torch.Tensor) -> torch.Tensor:
    """`[B, T, P, N]` to `[B, T, N]`. As a sum, whose gradient is a view: that of torch's mean is written out."""
    return values.sum(-2) / values.shape[-2]


class UnscaledAttention(nn.Module):
    """softmax(q(x) k(m)^T) v(m): dot-product attention whose energies are not divided by sqrt(d), as in the original.

    Shape: query `[..., Q, query_dim]`, memory `[..., M, memory_dim]` to `[..., Q, value_dim]`.
    """

    def __init__(self, query_dim: int, memory_dim: int, key_dim: int, value_dim: int) -> None:
        super().__init__()
        self.query = Linear(query_dim, key_dim)
        self.key = Linear(memory_dim, key_dim)
        self.value = Linear(memory_dim, value_dim)

    @property
    def projections(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.attend(self.query(query), *project(memory, self.key, self.value))

    def attend(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """The attention behind its projections: `[..., Q, d]`, `[..., M, d]`, `[..., M, value_dim]`."""
        if queries.is_cuda:
            return F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        # On a CPU, keys and values of different widths keep PyTorch's fused kernel out; its fallback scales in vain.
        return (queries @ keys.transpose(-1, -2)).softmax(-1) @ values


class SpatialAttention(nn.Module):
    """A weight per patch from the product of patch and guide, and the patches' weighted sum.

    weights = softmax over patches of tanh(score(relu(patch(x)) * relu(guide(g)))). projected: what `patch` makes of the
    patches, where that has run already, beside other projections.

    Shape: patches `[B, T, P, Cv]`, guide `[B, T, G]` to `[B, T, Cv]`.
    """

    def __init__(self, visual_dim: int, guide_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.patch = Linear(visual_dim, hidden_dim)
        self.guide = Linear(guide_dim, hidden_dim)
        self.score = Linear(hidden_dim, 1)

    def forward(
        self, patches: torch.Tensor, guide: torch.Tensor, projected: torch.Tensor | None = None
    ) -> torch.Tensor:
        seen = self.patch(patches) if projected is None else projected
        asked = F.relu(self.guide(guide))
        if listened(self.score) or not has_kernels(seen):
            scores = self.score(F.relu(seen) * asked.unsqueeze(-2)).squeeze(-1)
        else:
            # What the guide asks for goes into the weights of score: a product per segment, not per patch.
            scores = PatchScores.apply(seen, asked * self.score.weight.squeeze(0)) + self.score.bias
        weights = torch.tanh(scores).softmax(-1)
        return (weights.unsqueeze(-2) @ patches).squeeze(-2)


class ChannelAttention(nn.Module):
    """A weight in (1, 2) per channel of a picture, from its patches and its sound; projected as in `SpatialAttention`.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, 1, Cv]`.
    """

    def __init__(self, visual_dim: int, audio_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.patch = Linear(visual_dim, visual_dim)
        self.guide = Linear(audio_dim, visual_dim)
        self.bottleneck = Linear(visual_dim, hidden_dim)
        self.weight = Linear(hidden_dim, visual_dim)

    def forward(
        self, patches: torch.Tensor, audio: torch.Tensor, projected: torch.Tensor | None = None
    ) -> torch.Tensor:
        seen = mean_of_patches(F.relu(self.patch(patches) if projected is None else projected))
        joint = F.relu(self.guide(audio)) * seen
        return 1 + torch.sigmoid(self.weight(F.relu(self.bottleneck(joint)))).unsqueeze(-2)


class PictureGuidance(nn.Module):
    """Sound guides pictures: patches weighted by channel and place, then by what the picture itself attends to.

    projected: queries, keys and values that `self_attention` makes of the patches.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Cv]`.
    """

    def __init__(
        self, visual_dim: int, audio_dim: int, hidden_dim: int, key_dim: int, beta: float, dropout: float
    ) -> None:
        super().__init__()
        self.beta = beta
        self.self_attention = UnscaledAttention(visual_dim, visual_dim, key_dim, visual_dim)
        self.self_spatial = SpatialAttention(visual_dim, visual_dim, hidden_dim)
        self.channel = ChannelAttention(visual_dim, audio_dim, hidden_dim)
        self.spatial = SpatialAttention(visual_dim, audio_dim, hidden_dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, patches: torch.Tensor, projected: Sequence[torch.Tensor], audio: torch.Tensor, norm: nn.LayerNorm
    ) -> torch.Tensor:
        attended = residual_norm(patches, self.self_attention.attend(*projected), self.dropout, norm)
        by_place, by_channel = project(attended, self.self_spatial.patch, self.channel.patch)
        self_guided = self.self_spatial(attended, mean_of_patches(attended), by_place)
        guided = self.spatial(patches * self.channel(attended, audio, by_channel), audio)
        return guided + self.beta * torch.sigmoid(self_guided) * guided


class SoundGuidance(nn.Module):
    """Pictures guide sound: x (1 + psi sigmoid(g)), where g is the sound that each segment's picture asks for.

    projected: queries, keys and values that `picture_attention` makes of the patches.

    Shape: patches `[B, T, P, Cv]`, audio `[B, T, Ca]` to `[B, T, Ca]`.
    """

    def __init__(self, visual_dim: int, audio_dim: int, key_dim: int, psi: float, dropout: float) -> None:
        super().__init__()
        self.psi = psi
        self.picture_attention = UnscaledAttention(visual_dim, visual_dim, key_dim, visual_dim)
        self.sound_attention = UnscaledAttention(audio_dim, audio_dim, audio_dim, audio_dim)
        self.sound_norm = nn.LayerNorm(audio_dim)
        self.cross_attention = UnscaledAttention(visual_dim, audio_dim, audio_dim, audio_dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, patches: torch.Tensor, projected: Sequence[torch.Tensor], audio: torch.Tensor, norm: nn.LayerNorm
    ) -> torch.Tensor:
        attended = residual_norm(patches, self.picture_attention.attend(*projected), self.dropout, norm)
        heard = self.sound_attention.attend(*project(audio, *self.sound_attention.projections))
        sound = residual_norm(audio, heard, self.dropout, self.sound_norm)
        return audio + self.psi * torch.sigmoid(self.cross_attention(mean_of_patches(attended), sound)) * audio


class GuidanceAttention(nn.Module):
    """Patches and sound to one vector each per segment, each guided by the other where `guidance` says so.

    Without picture guidance the picture is the mean of its patches; without sound guidance the sound is unchanged. One
    layer norm serves the pictures' self-attention of both branches, as in the original.

    Shape: visual `[B, T, H, W, Cv]`, audio `[B, T, Ca]` to `GuidedFeatures`.
    """

    def __init__(
        self,
        guidance: str,
        visual_dim: int,
        audio_dim: int,
        hidden_dim: int,
        key_dim: int,
        psi: float,
        beta: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.picture: PictureGuidance | None = None
        self.sound: SoundGuidance | None = None
        if guidance != "none":
            self.visual_norm = nn.LayerNorm(visual_dim)
        if guidance in ("audio", "co"):
            self.picture = PictureGuidance(visual_dim, audio_dim, hidden_dim, key_dim, beta, dropout)
        if guidance in ("visual", "co"):
            self.sound = SoundGuidance(visual_dim, audio_dim, key_dim, psi, dropout)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> GuidedFeatures:
        patches = visual.flatten(2, 3)
        layers: list[nn.Linear] = []
        if self.picture is not None:
            layers += self.picture.self_attention.projections
        if self.sound is not None:
            layers += self.sound.picture_attention.projections
        projected = project(patches, *layers) if layers else []
        norm = getattr(self, "visual_norm", None)
        picture = patches.mean(-2) if self.picture is None else self.picture(patches, projected[:3], audio, norm)
        sound = audio if self.sound is None else self.sound(patches, projected[-3:], audio, norm)
        return GuidedFeatures(picture, sound)
