"""Clips of different lengths in one batch: shorter ones are padded at their end, and nothing sees the padding.

Within `padded(network, lengths)`, modules that mix segments leave padding out, and so do statistics over a batch. What
a network says of a clip's own segments is then what it says of that clip alone; what it says of padding means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def within(lengths: torch.Tensor, segments: int) -> torch.Tensor:
    """Which of so many segments are the clips' own, `[B, T]`, for lengths `[B]`."""
    return torch.arange(segments, device=lengths.device) < lengths.unsqueeze(1)


class Padded(nn.Module):
    """A module that leaves padding out.

    lengths: segments of each clip, integers `[B]`; None where no clip is padded. segments: of the batch, T.

    >>> module = Padded()
    >>> with padded(module, torch.tensor([2, 1])):
    ...     module.present(2), module.masked(torch.ones(2, 2, 1), -1.0).flatten().tolist()
    (tensor([[ True,  True],
            [ True, False]]), [1.0, 1.0, 1.0, -1.0])
    """

    lengths: torch.Tensor | None = None
    segments: int = 0

    def present(self, segments: int) -> torch.Tensor | None:
        """Which of so many segments are the clips' own, `[B, T]`; None where all are."""
        return None if self.lengths is None else within(self.lengths, segments)

    def masked(self, values: torch.Tensor, fill: float = -torch.inf) -> torch.Tensor:
        """Values `[B, T, ...]` with padding replaced."""
        present = self.present(values.shape[1])
        if present is None:
            return values
        return values.masked_fill(~present.view(*present.shape, *[1] * (values.ndim - 2)), fill)

    def last(self, values: torch.Tensor) -> torch.Tensor:
        """Of values `[B, T, ...]` those of each clip's last segment, `[B, ...]`."""
        if self.lengths is None:
            return values[:, -1]
        return values[torch.arange(len(values), device=values.device), self.lengths - 1]

    def own(self, values: torch.Tensor, steps_first: bool = False) -> torch.Tensor | None:
        """Which entries of values are no padding, of their shape but the last axis; None where all are.

        Shape: `[B, T, ..., N]`, a memory `[B, k T, N]` of k streams one behind the other, or `[B T, 1, N]`; with
        `steps_first`, S of them.
        """
        shape = values.shape[steps_first:-1]
        if self.lengths is None or len(shape) < 2:
            return None
        clips, segments = len(self.lengths), self.segments
        present = self.present(segments)
        assert present is not None
        if shape[:2] == (clips * segments, 1) and segments > 1:
            present = present.flatten().unsqueeze(1)
        elif shape[0] == clips and shape[1] % segments == 0:
            present = present.repeat(1, shape[1] // segments)
        else:
            return None  # one vector a clip
        return present.view(*present.shape, *[1] * (len(shape) - 2)).expand(values.shape[:-1])


@contextmanager
def padded(network: nn.Module, lengths: torch.Tensor | None, segments: int | None = None) -> Iterator[None]:
    """Within it, `network` runs batches whose clips have so many segments, `[B]`, padded to as many as `segments`, or
    as the longest has. Without lengths nothing changes: outside of another `padded`, none is padded.
    """
    if lengths is None:
        yield  # going through all modules takes a hundredth of a small network's training step
        return
    if segments is None:
        segments = int(lengths.max())
    modules = [module for module in network.modules() if isinstance(module, Padded)]
    for module in modules:
        module.lengths, module.segments = lengths, segments
    try:
        yield
    finally:
        for module in modules:
            module.lengths = None


def reverse(values: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """The segments of every clip in reverse, padding where it is: `[S, B, T, ...]` to the same shape."""
    if lengths is None:
        return values.flip(2)
    place = torch.arange(values.shape[2], device=values.device)
    source = torch.where(within(lengths, len(place)), lengths.unsqueeze(1) - 1 - place, place)
    clips = torch.arange(len(lengths), device=values.device).unsqueeze(1)
    return values[:, clips, source]
