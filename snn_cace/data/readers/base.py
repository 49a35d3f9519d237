"""What a data set is to the rest of the package: clips by row, in splits. Everything else asks its reader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.contracts import LabelKind
from snn_cace.errors import InputError

SPLITS = ("train", "val", "test")
CHUNK_BYTES = 1 << 26
"""Rows are scanned in pieces of about this size."""
SAMPLED_ROWS = 16
"""Rows whose features a fingerprint reads, evenly spaced."""


@dataclass
class Layout:
    """Sizes of a data set: N clips of T segments, in splits that name rows.

    Features are `[N, T, H, W, Cv]` and `[N, T, Ca]`, labels `[N, T, C + 1]`, background last. lengths: segments of each
    clip, `[N]`, where some have fewer than T; they are padded at their end, with any features, labelled as background.
    """

    clips: int
    segments: int
    height: int
    width: int
    visual_channels: int
    audio_channels: int
    classes: int
    orders: dict[str, np.ndarray]
    dtypes: dict[str, str] = field(default_factory=dict)
    lengths: np.ndarray | None = None

    def row_shape(self, name: str) -> tuple[int, ...]:
        """The shape of one row of an array of `Reader.read`."""
        return {
            "visual": (self.segments, self.height, self.width, self.visual_channels),
            "audio": (self.segments, self.audio_channels),
            "labels": (self.segments, self.classes + 1),
            "clip_labels": (self.classes + 1,),
        }[name.removeprefix("background_")]


class Timeline(NamedTuple):
    """A clip in seconds. borders: where its t segments begin and end, `[t + 1]`. events: start, end and class of each,
    `[n, 3]`.
    """

    borders: np.ndarray
    events: np.ndarray


class Reader:
    """One data set. A reader of one's own sets `layout`, and defines `class_names` and either `read` or `read_row`. The
    rest may stay.

    directory: what messages and reports name; a data set without one leaves it. layout: sizes and splits. A constructor
    takes the `data` section of a config, and raises InputError for what it cannot read. label_kind: how many classes a
    segment has.
    """

    directory = Path()
    layout: Layout
    label_kind: ClassVar[LabelKind] = "single"

    def __init__(self, config: DataConfig) -> None:
        if config.directory is None:
            raise InputError(f"data.directory: data.reader {config.reader} reads a directory; give --data DIRECTORY")
        self.directory = Path(config.directory)
        if not self.directory.is_dir():
            raise InputError(f"no directory {self.directory}")

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows of an array, in the order given: `visual` `[n, T, H, W, Cv]`, `audio` `[n, T, Ca]`, or `labels`
        `[n, T, C + 1]`, one-hot, background last; multi-label, all events of a segment, or background. A data set that
        has them also reads `clip_labels` `[n, C + 1]` and the features of clips without an event, `background_visual`
        and `background_audio`.
        """
        values = np.empty((len(rows), *self.layout.row_shape(name)), np.float32)
        for place, row in enumerate(rows):
            values[place] = self.read_row(name, int(row))
        return values

    def read_row(self, name: str, row: int) -> np.ndarray:
        """One row of an array of `read`."""
        raise NotImplementedError

    def class_names(self) -> list[str]:
        """Names by class index, background last."""
        raise NotImplementedError

    def scan(self, name: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """All of `rows`, ascending, in pieces: which of them, and their values."""
        step = max(1, CHUNK_BYTES // (8 * prod(self.layout.row_shape(name))))
        for start in range(0, len(rows), step):
            piece = slice(start, min(start + step, len(rows)))
            yield piece, self.read(name, rows[piece])

    def source(self, name: str, row: int | None = None) -> Path:
        """The file to blame for an array, or for one of its rows, or for a split; the directory unless it is known."""
        return self.directory

    def has_clip_labels(self) -> bool:
        """Whether clips have labels of their own, for weak supervision."""
        return False

    def background_clips(self) -> int:
        """How many clips without an event there are beside the others; InputError where there are none."""
        raise InputError(f"data.background_clips: {self.directory} has no clips of background; leave it out")

    def recordings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """By kind, which recording each segment of `rows` holds, integers `[n, T]`, -1 for none: clips that share one
        are not independent, and statistics say so. Empty where clips share none.
        """
        return {}

    def timeline(self, row: int) -> Timeline | None:
        """When a clip's segments and events are, for metrics of intervals; None where it is not known."""
        return None

    def encoder_macs(self) -> dict[str, float] | None:
        """Multiply-accumulates per clip of the encoders that made the features, by modality; None where not known."""
        return None

    def places(self, rows: np.ndarray) -> np.ndarray | None:
        """Which patches what sounds covers, `[n, T, H, W]` of bool; None where not known."""
        return None

    def pictures(self, visual: np.ndarray) -> np.ndarray:
        """Features `[n, T, H, W, Cv]` as pictures in [0, 1], `[n, T, height, width]`: the mean over channels, of each
        clip's largest.
        """
        mean = visual.mean(-1)
        return (mean / np.maximum(mean.max((1, 2, 3), keepdims=True), 1e-9)).clip(0, 1)

    def row_counts(self) -> dict[str, int]:
        """What `read` reads, and how many rows each has."""
        return dict.fromkeys(("visual", "audio", "labels"), self.layout.clips)

    def fingerprint(self) -> str:
        """A digest of labels, splits, sizes and types, and of features in `SAMPLED_ROWS` evenly spaced rows: another
        wherever these are.
        """
        found = hashlib.sha256()
        for order in self.layout.orders.values():
            found.update(np.asarray(order).tobytes())
        for name, clips in self.row_counts().items():
            rows = np.arange(clips)
            if "labels" not in name:
                rows = np.unique(np.linspace(0, clips - 1, SAMPLED_ROWS).astype(int))
            pieces = [values for _, values in self.scan(name, rows)]
            shape = (clips, *self.layout.row_shape(name))
            found.update(f"{name.replace('background_', 'background ')} {shape} {pieces[0].dtype}".encode())
            for values in pieces:
                found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()

    def checked(self, name: str, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """`values` of `rows`.

        Raises:
            InputError: naming the file and the first row that holds NaN or infinity, or labels that are not one class a
                segment, or of several not events or background.
        """

        check_finite(values, rows, lambda row: self.source(name, row))
        if name == "labels":
            self.check_one_hot(values, rows)
        return values

    def check_one_hot(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise InputError naming the first of `rows` with a segment of labels `[N, T, C + 1]` that has not one class,
        or, of another kind than `single`, at least one.

        Background is a class, the last: a segment of zeros alone, or with an event beside background, is refused.
        """
        single = self.label_kind == "single"
        counted = labels.sum(-1) if single else labels[..., :-1].any(-1) + labels[..., -1]
        one_hot = ((labels == 0) | (labels == 1)).all(-1) & (counted == 1)
        if not one_hot.all():
            clip, segment = np.argwhere(~one_hot)[0]
            row = int(rows[clip])
            wanted, has = ("one-hot", "one class") if single else ("multi-hot", "events or background, never both")
            raise InputError(
                f"{self.source('labels', row)}: row {row}, segment {segment} is not {wanted}: "
                f"{labels[clip, segment].tolist()}; each segment has {has}, background being the last"
            )

    def scan_checked(self, name: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """As `scan`; an InputError at the first row with a fault that `checked` finds."""
        for piece, values in self.scan(name, rows):
            yield piece, self.checked(name, rows[piece], values)

    def check_labels(self) -> None:
        """Raise InputError where the labels of a split are not one class a segment."""
        for _ in self.scan_checked("labels", np.unique(np.concatenate([*self.layout.orders.values()]))):
            pass

    def refuse_shared_rows(self) -> None:
        """Raise InputError for a row in two splits, or twice in one: what is tested must not be trained on."""
        for split, order in self.layout.orders.items():
            rows, times = np.unique(order, return_counts=True)
            if (times > 1).any():
                raise InputError(f"{self.source(split)} names row {rows[times > 1][0]} twice")
        for first, second in combinations(self.layout.orders, 2):
            shared = np.intersect1d(self.layout.orders[first], self.layout.orders[second])
            if shared.size:
                raise InputError(
                    f"{self.directory}: {first} and {second} share {shared.size} rows, row {shared[0]} first; a clip "
                    "belongs to one split"
                )


def check_finite(values: np.ndarray, rows: np.ndarray, source: Callable[[int], Any]) -> None:
    """Raise InputError naming the first of `rows`, and its file, whose values hold NaN or infinity."""
    if not np.isfinite(values).all():
        row = int(rows[np.argwhere(~np.isfinite(values))[0, 0]])
        raise InputError(f"{source(row)}: row {row} holds NaN or infinity; extract this clip's features again")
