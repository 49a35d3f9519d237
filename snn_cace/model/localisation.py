"""The localisation head: is each segment an event, and which class does the clip show."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Localisation(NamedTuple):
    """segment_relevance `[B, T]` and class logits `[B, C]`; query and key `[B, T, d]`, unit length or zero."""

    segment_relevance: torch.Tensor
    class_logits: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor


class LocalisationHead(nn.Module):
    """Classifiers over fused features f `[B, T, d]`, with background-event contrast enhancement.

    `event` maps the largest value of each channel over segments, `[B, 1, d]`, to class logits `[B, 1, C]`.

    The contrastive projector is relu(W f). Enhancement adds `strength` times it to f before the relevance classifier,
    and changes nothing else. Query and key views go through the same projector; the key's input carries fresh noise,
    in evaluation too, as in the original.
    """

    def __init__(self, d_model: int, event: nn.Module, strength: float, noise: float) -> None:
        super().__init__()
        self.strength = strength
        self.noise_scale = noise
        self.draw_noise = torch.randn_like
        self.relevance = nn.Linear(d_model, 1)
        self.projector = nn.Linear(d_model, d_model)
        self.event = event

    def project(self, fused: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.projector(fused))

    def forward(self, fused: torch.Tensor, enhance: bool) -> Localisation:
        projected = self.project(fused)
        relevance_input = fused + self.strength * projected if enhance else fused
        noisy = fused + self.noise_scale * self.draw_noise(fused)
        return Localisation(
            segment_relevance=self.relevance(relevance_input).squeeze(-1),
            class_logits=self.event(fused.amax(1, keepdim=True)).squeeze(1),
            query=F.normalize(projected, dim=-1),
            key=F.normalize(self.project(noisy), dim=-1),
        )
