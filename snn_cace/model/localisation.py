"""The localisation head: is each segment an event, and which class does the clip show."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from neurons import LookBack
from snn_cace.config import ContrastConfig


class Localisation(NamedTuple):
    """segment_relevance `[B, T]` and class logits `[B, C]`, of causal networks `[B, T, C]`; query and key `[B, T, d]`,
    unit length or zero, with contrast.
    """

    segment_relevance: torch.Tensor
    class_logits: torch.Tensor
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None


def windows(values: torch.Tensor, look_back: LookBack) -> torch.Tensor:
    """What each segment and those before it hold within the window W: `[B, T, d]` to `[B, T, d, W]`, minus infinity
    before the clip's beginning. Within a stream, of one segment: `[B, 1, d]` to `[B, 1, d, W]`.
    """
    assert look_back.window is not None
    if look_back.streaming:
        (whole,), seen = look_back.with_past(values)
        return whole.transpose(1, 2).unsqueeze(1).masked_fill(~seen, -torch.inf)
    before = values.new_full((values.shape[0], look_back.window - 1, values.shape[2]), -torch.inf)
    return torch.cat([before, values], dim=1).unfold(1, look_back.window, 1)


def mean_of_largest(class_logits: torch.Tensor, count: int, look_back: LookBack) -> torch.Tensor:
    """Mean of each class's `count` largest segments: `[B, T, C]` to `[B, C]`; with a window, within it, to
    `[B, T, C]`.
    """
    if look_back.window is None and look_back.lengths is None:
        return class_logits.topk(min(count, class_logits.shape[1]), dim=1).values.mean(1)
    within = (
        look_back.masked(class_logits).transpose(1, 2) if look_back.window is None else windows(class_logits, look_back)
    )
    largest = within.topk(min(count, within.shape[-1]), dim=-1).values
    there = largest > -torch.inf
    return largest.masked_fill(~there, 0.0).sum(-1) / there.sum(-1)


class LossViews(nn.Module):
    """Query and key of the contrastive loss, unit vectors: what is counted of a network at work leaves them out.

    Shape: fused features and what the projector makes of them, `[B, T, d]` each, to two of the same.
    """

    def forward(
        self,
        fused: torch.Tensor,
        projected: torch.Tensor,
        noise: float,
        draw: Callable[[torch.Tensor], torch.Tensor],
        project: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        noisy = fused + noise * draw(fused)
        return F.normalize(projected, dim=-1), F.normalize(project(noisy), dim=-1)


class LocalisationHead(nn.Module):
    """Classifiers over fused features f `[B, T, d]`, with background-event contrast enhancement or without.

    `event` maps the largest value of each channel over segments, `[B, 1, d]`, to class logits `[B, 1, C]`; with a
    `window`, at each segment, over it and the window - 1 before.

    The contrastive projector is relu(W f). Enhancement adds `strength` times it to f before the relevance classifier,
    and changes nothing else. Query and key views go through the same projector; the key's input carries fresh noise,
    in evaluation too, as in the original.
    """

    def __init__(
        self, d_model: int, event: nn.Module, contrast: ContrastConfig | None = None, window: int | None = None
    ) -> None:
        super().__init__()
        self.look_back = LookBack(window)
        self.contrast = contrast
        self.draw_noise = torch.randn_like
        self.relevance = nn.Linear(d_model, 1)
        if contrast is not None:
            self.projector = nn.Linear(d_model, d_model)
            self.views = LossViews()
        self.event = event

    def project(self, fused: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.projector(fused))

    def classify(self, fused: torch.Tensor) -> torch.Tensor:
        """Class logits `[B, C]` of features `[B, T, d]`; with a window `[B, T, C]`."""
        if self.look_back.window is None:
            return self.event(self.look_back.masked(fused).amax(1, keepdim=True)).squeeze(1)
        largest = windows(fused, self.look_back).amax(-1)
        return self.event(largest.flatten(0, 1).unsqueeze(1)).view(*largest.shape[:2], -1)

    def forward(self, fused: torch.Tensor, enhance: bool = False) -> Localisation:
        if self.contrast is None:
            return Localisation(self.relevance(fused).squeeze(-1), self.classify(fused))
        projected = self.project(fused)
        relevance_input = fused + self.contrast.strength * projected if enhance else fused
        relevance, class_logits = self.relevance(relevance_input).squeeze(-1), self.classify(fused)
        query, key = self.views(fused, projected, self.contrast.noise, self.draw_noise, self.project)
        return Localisation(relevance, class_logits, query, key)
