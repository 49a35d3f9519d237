"""State that outlives a call, for networks that run segment by segment.

Outside a stream every call of every module is a pure function of its input. Within one, modules that look back keep
what they need of the segments before: membranes, the last inputs of a sliding window, keys and values of attention.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from neurons.padding import Padded


class Streamed(nn.Module):
    """A module that, within a stream, goes on from the segments before.

    streaming: whether it is within one. past: what it keeps, tensors or None; whoever streams may copy it and put it
    back.

    >>> class Last(Streamed):
    ...     def forward(self, values):
    ...         before, self.past = self.past, values if self.streaming else None
    ...         return before
    >>> last = Last()
    >>> last.begin()
    >>> last(1), last(2), last(3)
    (None, 1, 2)
    """

    streaming: bool = False
    past: Any = None

    def begin(self) -> None:
        """Start a stream, with nothing before it."""
        self.streaming, self.past = True, None

    def end(self) -> None:
        """End it, and keep nothing."""
        self.streaming, self.past = False, None


class LookBack(Streamed, Padded):
    """What attention over segments, or a maximum over them, sees of those before.

    window: at segment t, segments t - window + 1 to t; None sees all segments of a clip, later ones too.

    >>> LookBack(2).seen(3, 3)
    tensor([[ True, False, False],
            [ True,  True, False],
            [False,  True,  True]])
    """

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window

    def seen(self, segments: int, entries: int, device: torch.device | None = None) -> torch.Tensor:
        """Whether segment t sees an entry, `[T, M]`; the M entries are those of T segments, once or several times over
        (streams one behind the other).
        """
        here = torch.arange(segments, device=device)
        behind = here[:, None] - here.repeat(entries // segments)
        return (behind >= 0) & (behind < (self.window or segments))

    def mask(self, segments: int, entries: int, device: torch.device | None = None) -> torch.Tensor | None:
        """Whether segment t sees an entry: `[1, T, M]`, `[B, T, M]` of padded clips; None where all see all.

        Padding sees padding, so that every segment sees something.
        """
        mask = None if self.window is None else self.seen(segments, entries, device).unsqueeze(0)
        own = self.present(segments)
        if own is None or not len(own):  # PyTorch takes no masks of no clips
            return mask
        visible = own.repeat(1, entries // segments).unsqueeze(1) | ~own.unsqueeze(2)
        return visible if mask is None else mask & visible

    def with_past(self, *entries: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Within a stream: this segment's entries `[..., n, d]` behind those of the window - 1 segments before,
        `[..., window n, d]`, and which of them there have been, `[window n]`; zeros stand for those before the first.
        """
        assert self.window is not None, "a stream has no later segments to see"
        own, before = entries[0].shape[-2], self.window - 1
        if self.past is None:
            none = [x.new_zeros(*x.shape[:-2], before * own, x.shape[-1]) for x in entries]
            self.past = (*none, torch.zeros((), dtype=torch.int64, device=entries[0].device))
        *past, segments = self.past
        whole = [torch.cat(both, dim=-2) for both in zip(past, entries, strict=True)]
        self.past = (*(x[..., own:, :] for x in whole), segments + 1)
        ago = torch.arange(before, -1, -1, device=segments.device).repeat_interleave(own)
        return whole, ago <= segments


@contextmanager
def stream(network: nn.Module) -> Iterator[None]:
    """Within it `network` runs a clip segment by segment, `[B, 1, ...]` at a call, and goes on from call to call."""
    begin(network)
    try:
        yield
    finally:
        for module in streamed(network).values():
            module.end()


def begin(network: nn.Module) -> None:
    """Start a stream, or start it again from nothing."""
    for module in streamed(network).values():
        module.begin()


def streamed(network: nn.Module) -> dict[str, Streamed]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Streamed)}


def snapshot(network: nn.Module) -> dict[str, Any]:
    """What every module of a stream keeps, by name, as it is now."""
    return {name: copy.copy(module.past) for name, module in streamed(network).items()}


def restore(network: nn.Module, kept: dict[str, Any]) -> None:
    """Go on from a `snapshot`, of this network or of one with the same modules."""
    for name, module in streamed(network).items():
        module.past = copy.copy(kept[name])
