"""Events of a simulated event camera as a visual encoder without weights: `snn-cace extract --visual events`.

A pixel with log intensity L fires each time L has moved by the contrast threshold C since its last event: ON upwards,
OFF downwards. With a reference R, which is L of the first picture, its events between a picture and the next are

    n = trunc((L - R) / C),    R <- R + n C,

as ESIM has it (Rebecq, Gehrig and Scaramuzza, CoRL 2018) and v2e (Hu, Liu and Delbruck, CVPR Workshops 2021). From v2e
come C = 0.2 and the intensity's logarithm, linear below 20 of 255, where noise would fire otherwise. Theirs also draw
noise and thresholds, and say when between two pictures an event fires; nothing is drawn here, and a bin is all that is
between two pictures.

A feature is 1 where there was an event, else 0. Channels of a patch: time bin, polarity (ON, OFF), row, column of the
pixel. A bin ends with one of the segment's pictures, and begins with the one before, of whichever segment.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from snn_cace.encoders.visual import GRID, VisualEncoder
from snn_cace.errors import InputError

PATCH = 8
"""Pixels of the camera along a patch."""
THRESHOLD, LINEAR_BELOW = 0.2, 20.0


class Pixels(nn.Module):
    """The pixels of an event camera. What decides their events is in the state dict; the reference is not."""

    settings: torch.Tensor

    def __init__(self, threshold: float = THRESHOLD, linear_below: float = LINEAR_BELOW) -> None:
        super().__init__()
        self.register_buffer("settings", torch.tensor([threshold, linear_below]))
        self.reference: torch.Tensor | None = None

    def forward(self, intensities: torch.Tensor) -> torch.Tensor:
        """Intensities `[N, height, width]` in [0, 255] of pictures in a row to events `[N, 2, height, width]`. They go
        on from the reference, if there is one.
        """
        threshold, knee = self.settings.tolist()
        bright = intensities.clamp(min=knee).log()
        levels = torch.where(intensities < knee, intensities * (math.log(knee) / knee), bright)
        reference = levels[0] if self.reference is None else self.reference
        events = []
        for level in levels:
            moved = torch.trunc((level - reference) / threshold)
            reference = reference + moved * threshold
            events.append(torch.stack([moved > 0, moved < 0]))
        self.reference = reference
        return torch.stack(events).to(levels)


class EventCamera(VisualEncoder):
    """An encoder of so many pictures a segment, whose network are an event camera's pixels.

    Raises:
        InputError: fewer pictures than two.
    """

    def __init__(self, frames: int) -> None:
        if frames < 2:
            raise InputError(f"events are between pictures: --frames must be at least 2, not {frames}")
        self.pixels, self.frames = Pixels(), frames
        super().__init__(self.pixels, (224, 224), (0.0,) * 3, (1.0,) * 3)

    @property
    def channels(self) -> int:
        return self.frames * 2 * PATCH * PATCH

    @torch.no_grad()
    def of_segments(self, pictures: torch.Tensor, goes_on: bool = False) -> torch.Tensor:
        if not goes_on:
            self.pixels.reference = None
        grey = pictures.flatten(0, 1).to(self.pixels.settings.device).float().mean(-1)
        events = self.pixels(F.adaptive_avg_pool2d(grey, GRID * PATCH))
        patches = events.unflatten(0, pictures.shape[:2]).unflatten(-1, (GRID, PATCH)).unflatten(-3, (GRID, PATCH))
        return patches.permute(0, 3, 5, 1, 2, 4, 6).flatten(3)
