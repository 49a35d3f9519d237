"""The reader of UnAV-100 (Geng et al., CVPR 2023, arXiv:2303.12930) as its authors publish it: clips of any length with
several events at once, and for each clip three files of features.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data.labels import BACKGROUND
from snn_cace.data.readers.base import SPLITS, Layout, Reader, Timeline
from snn_cace.data.readers.files import finite_features, folder_within, read_features, refuse_missing
from snn_cace.errors import InputError, one_line

TABLE = "unav100_annotations.json"
SUBSETS = {"train": "train", "validation": "val", "test": "test"}
KINDS = ("rgb", "flow", "vggish")
STRIDE, FIRST = 8 / 25, 12 / 25
"""Seconds from one segment's middle to the next, and to the first: features are of 24 frames, every 8, 25 a second."""


class Clip(NamedTuple):
    """seconds: its length. events: start and end in seconds and class of each, `[n, 3]`."""

    video: str
    split: str
    seconds: float
    events: np.ndarray


class UnavReader(Reader):
    """A directory with `unav100_annotations.json`, or `annotations` that holds it, and `ID_rgb.npy`, `ID_flow.npy` and
    `ID_vggish.npy`, or `av_features` that holds them, `[t, C]` each.

    A segment has the events that its middle lies in. Pictures and flow are joined; where files of a clip differ in
    length, the shortest counts. Both as the authors' programs do.
    """

    label_kind = "multi-label"

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self.table = folder_within(self.directory, "annotations") / TABLE
        self.features = folder_within(self.directory, "av_features")
        self.clips, self.names = read_table(self.table)
        refuse_missing(self.features, [f"{clip.video}_{kind}.npy" for clip in self.clips for kind in KINDS], self.table)
        shapes = np.array(
            [[read_features(self.path(row, kind)).shape for kind in KINDS] for row in range(len(self.clips))]
        )
        self.lengths = shapes[..., 0].min(1)
        channels = shapes[0, :, 1]
        other = np.argwhere(shapes[..., 1] != channels)
        if other.size:
            row, kind = other[0]
            path = self.path(row, KINDS[kind])
            raise InputError(f"{path} has {shapes[row, kind, 1]} channels, the first clip's file {channels[kind]}")
        splits = np.array([clip.split for clip in self.clips])
        orders = {split: np.flatnonzero(splits == split) for split in SPLITS}
        sizes = (int(self.lengths.max()), 1, 1, int(channels[:2].sum()), int(channels[2]), len(self.names))
        self.layout = Layout(len(self.clips), *sizes, orders, lengths=self.lengths)

    def read_row(self, name: str, row: int) -> np.ndarray:
        values, length = np.zeros(self.layout.row_shape(name), np.float32), self.lengths[row]
        if name == "labels":
            middles = FIRST + STRIDE * np.arange(length)
            for start, end, index in self.clips[row].events:
                values[:length, int(index)][(start < middles) & (middles < end)] = 1
            values[:, -1] = ~values.any(-1)
            return values
        kinds = KINDS[:2] if name == "visual" else KINDS[2:]
        found = np.concatenate([finite_features(self.path(row, kind))[:length] for kind in kinds], 1)
        values[:length] = found.reshape(length, *values.shape[1:])
        return values

    def path(self, row: int, kind: str) -> Path:
        return self.features / f"{self.clips[row].video}_{kind}.npy"

    def source(self, name: str, row: int | None = None) -> Path:
        if row is None or name == "labels":
            return self.features if name in ("visual", "audio") else self.table
        return self.path(row, "rgb" if name == "visual" else "vggish")

    def class_names(self) -> list[str]:
        return [*self.names, BACKGROUND]

    def timeline(self, row: int) -> Timeline:
        """The first segment begins, and the last ends, where the clip does."""
        borders = FIRST + STRIDE * (np.arange(self.lengths[row] + 1) - 0.5)
        borders[0], borders[-1] = 0.0, max(self.clips[row].seconds, borders[-1])
        return Timeline(borders, self.clips[row].events)


def read_table(path: Path) -> tuple[list[Clip], list[str]]:
    """The clips of the annotations, in their order, and the classes' names, by `label_id`.

    Raises:
        InputError: no such file, a clip that is not described as it should be, naming it, or a split without clips.
    """
    try:
        database = json.loads(path.read_text(encoding="utf-8"))["database"]
        listed = list(database.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no JSON of a 'database' of clips: {one_line(error)}") from None
    names: dict[int, str] = {}
    clips = [read_clip(video, described, names, path) for video, described in listed]
    empty = {*SPLITS} - {clip.split for clip in clips}
    if empty:
        raise InputError(f"{path} has no clip of split {min(empty)}")
    if not names or sorted(names) != list(range(len(names))) or len({*names.values()}) < len(names):
        raise InputError(f"{path} should number its classes from 0 by label_id, one name each, not {sorted(names)}")
    return clips, [names[index] for index in range(len(names))]


def read_clip(video: str, described: Any, names: dict[int, str], path: Path) -> Clip:
    """One clip; its classes are added to `names`."""
    try:
        events = []
        for event in described["annotations"]:
            (start, end), index = map(float, event["segment"]), event["label_id"]
            if not 0 <= start <= end < np.inf or not isinstance(index, int) or index < 0:
                raise ValueError(f"segment {event['segment']}, label_id {index}")
            if names.setdefault(index, str(event["label"])) != event["label"]:
                raise ValueError(f"label_id {index} is '{event['label']}', and '{names[index]}' elsewhere")
            events.append((start, end, index))
        seconds, split = float(described["duration"]), SUBSETS[str(described["subset"]).lower()]
        if not 0 < seconds < np.inf or Path(video).name != video:
            raise ValueError(f"duration {seconds}, or a name that is none of a file")
    except (KeyError, TypeError, ValueError) as error:
        expected = f"duration, subset of {', '.join(SUBSETS)}, and annotations with segment, label and label_id"
        raise InputError(f"{path}, clip '{video}' should have {expected}: {one_line(error)}") from None
    return Clip(video, split, seconds, np.array(events, np.float64).reshape(-1, 3))
