"""The localisation head: is each segment an event, and which class does the clip show."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from neurons import LookBack


class Localisation(NamedTuple):
    """segment_relevance `[B, T]` and class logits `[B, C]`, of causal networks `[B, T, C]`; query and key `[B, T, d]`,
    unit length or zero.
    """

    segment_relevance: torch.Tensor
    class_logits: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor


def windows(values: torch.Tensor, look_back: LookBack) -> torch.Tensor:
    """What each segment and those before it hold within the window W: `[B, T, d]` to `[B, T, d, W]`, minus infinity
    before the clip's beginning. Within a stream, of one segment: `[B, 1, d]` to `[B, 1, d, W]` or fewer.
    """
    assert look_back.window is not None
    if look_back.streaming:
        (whole,) = look_back.with_past(values)
        return whole.transpose(1, 2).unsqueeze(1)
    before = values.new_full((len(values), look_back.window - 1, values.shape[2]), -torch.inf)
    return torch.cat([before, values], dim=1).unfold(1, look_back.window, 1)


class LocalisationHead(nn.Module):
    """Classifiers over fused features f `[B, T, d]`, with background-event contrast enhancement.

    `event` maps the largest value of each channel over segments, `[B, 1, d]`, to class logits `[B, 1, C]`; with a
    `window`, at each segment, over it and the window - 1 before.

    The contrastive projector is relu(W f). Enhancement adds `strength` times it to f before the relevance classifier,
    and changes nothing else. Query and key views go through the same projector; the key's input carries fresh noise,
    in evaluation too, as in the original.
    """

    def __init__(
        self, d_model: int, event: nn.Module, strength: float, noise: float, window: int | None = None
    ) -> None:
        super().__init__()
        self.look_back = LookBack(window)
        self.strength = strength
        self.noise_scale = noise
        self.draw_noise = torch.randn_like
        self.relevance = nn.Linear(d_model, 1)
        self.projector = nn.Linear(d_model, d_model)
        self.event = event

    def project(self, fused: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.projector(fused))

    def classify(self, fused: torch.Tensor) -> torch.Tensor:
        """Class logits `[B, C]` of features `[B, T, d]`; with a window `[B, T, C]`."""
        if self.look_back.window is None:
            return self.event(fused.amax(1, keepdim=True)).squeeze(1)
        largest = windows(fused, self.look_back).amax(-1)
        return self.event(largest.flatten(0, 1).unsqueeze(1)).view(*largest.shape[:2], -1)

    def forward(self, fused: torch.Tensor, enhance: bool) -> Localisation:
        projected = self.project(fused)
        relevance_input = fused + self.strength * projected if enhance else fused
        noisy = fused + self.noise_scale * self.draw_noise(fused)
        return Localisation(
            segment_relevance=self.relevance(relevance_input).squeeze(-1),
            class_logits=self.classify(fused),
            query=F.normalize(projected, dim=-1),
            key=F.normalize(self.project(noisy), dim=-1),
        )
