"""The reader of VGGSound-AVEL100k and 50k, as CPSP's programs store them (Zhou et al., TPAMI 2023, doi
10.1109/TPAMI.2022.3223688): a table of clips, and for each clip three zip files that hold one pickled array each.
"""

from __future__ import annotations

import functools
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data.labels import BACKGROUND, read_lines
from snn_cace.data.readers.base import SPLITS, Layout, Reader
from snn_cace.data.readers.files import read_rows, refuse_missing
from snn_cace.errors import InputError, one_line

FOLDERS = {"visual": "video", "audio": "audio", "labels": "label"}
COLUMNS = ("category", "video_id", "split")
ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""What a pickled array is made of; nothing else is loaded."""


class AvelReader(Reader):
    """A directory with one table of clips (`*.csv`), the list of classes (`*ategories.txt`), and folders `video`,
    `audio` and `label`, or `zip` in each, of files `VIDEO_ID.zip`.

    Clips with less sound than segments repeat the last second of it, and more is cut off, as CPSP's programs do.
    """

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self.table = only(self.directory, "*.csv")
        self.names = read_lines(only(self.directory, "*ategories.txt"))
        categories, self.ids, splits = zip(*read_table(self.table, self.names), strict=True)
        self.classes = np.array([self.names.index(category) for category in categories])
        self.folders = {name: folder(self.directory / path) for name, path in FOLDERS.items()}
        for name in FOLDERS:
            refuse_missing(self.folders[name], [f"{video}.zip" for video in self.ids], self.table)
        visual, audio, events = (read_array(self.source(name, 0)) for name in FOLDERS)
        if visual.ndim != 4 or audio.ndim != 2 or events.size != len(visual):
            raise InputError(
                f"{self.source('visual', 0)}, the same of audio and of labels hold {list(visual.shape)}, "
                f"{list(audio.shape)}, {list(events.shape)}; expected [T, H, W, Cv], [T, Ca], [1, T]"
            )
        orders = {split: np.flatnonzero(np.array(splits) == split) for split in SPLITS}
        segments, height, width, channels = channels_last(visual).shape
        self.layout = Layout(len(self.ids), segments, height, width, channels, audio.shape[1], len(self.names), orders)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        if name == "clip_labels":
            return np.eye(len(self.names) + 1, dtype=np.float32)[self.classes[rows]]
        if name == "labels":
            events = all_events(self.folders["labels"], self.ids, self.layout.segments)[rows]
            classes = np.where(events, self.classes[rows, None], len(self.names))
            return np.eye(len(self.names) + 1, dtype=np.float32)[classes]
        return super().read(name, rows)

    def read_row(self, name: str, row: int) -> np.ndarray:
        path, want = self.source(name, row), self.layout.row_shape(name)
        found = read_array(path)
        found = channels_last(found) if name == "visual" else padded(found, self.layout.segments)
        if found.shape != want:
            raise InputError(f"{path} holds {list(found.shape)}, the first clip {list(want)}")
        return found

    def source(self, name: str, row: int | None = None) -> Path:
        if name in SPLITS:
            return self.table
        where = self.folders[name.replace("clip_", "")]
        return where if row is None else where / f"{self.ids[row]}.zip"

    def class_names(self) -> list[str]:
        return [*self.names, BACKGROUND]

    def has_clip_labels(self) -> bool:
        return True


def only(directory: Path, pattern: str) -> Path:
    """The one file of a directory whose name fits."""
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{directory} holds {len(found)} files {pattern}, expected one: the table and the classes")
    return found[0]


def folder(path: Path) -> Path:
    found = path / "zip" if (path / "zip").is_dir() else path
    if not found.is_dir():
        raise InputError(f"no directory {path}; it should hold a file VIDEO_ID.zip of each clip")
    return found


def read_table(path: Path, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """The clips of a table: category, video and split.

    Raises:
        InputError: a missing column, a video that is there twice, an unknown class or split, or a split without clips;
            with the line's number.
    """
    clips = read_rows(path, COLUMNS)
    seen: set[str] = set()
    for line, (category, video, split) in enumerate(clips, start=2):
        if video in seen or not video or Path(video).name != video:
            raise InputError(f"{path}, line {line}: video '{video}' is there twice, or is no name of a file")
        if category not in names:
            raise InputError(f"{path}, line {line}: '{category}' is none of the {len(names)} classes")
        if split not in SPLITS:
            raise InputError(f"{path}, line {line}: split '{split}' is none of {', '.join(SPLITS)}")
        seen.add(video)
    empty = {*SPLITS} - {split for _, _, split in clips}
    if empty:
        raise InputError(f"{path} has no clip of split {min(empty)}")
    return clips  # type: ignore[return-value]


class ArrayUnpickler(pickle.Unpickler):
    """Loads arrays, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, not an array of numbers")
        return super().find_class(module, name)


def read_array(path: Path) -> np.ndarray:
    """The array in the one pickle file of a zip file.

    Raises:
        InputError: naming the file, which is missing, damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".pkl"))
            with archive.open(name) as file:
                found = np.asarray(ArrayUnpickler(file).load())
        if found.dtype.kind not in "fiub" or found.size == 0:
            raise ValueError(f"it holds {found.dtype} {list(found.shape)}, not numbers")
    except Exception as error:  # a damaged pickle raises whatever it does
        raise InputError(f"{path} is no zip file of one pickled array: {one_line(error)}") from None
    return found


@functools.lru_cache(maxsize=1)
def all_events(directory: Path, ids: tuple[str, ...], segments: int) -> np.ndarray:
    """Whether each segment of each clip is an event, `[N, T]` of bool; kept, for 100,000 files take half a minute.

    Raises:
        InputError: a file whose labels are not zeros and ones, or of another number of segments.
    """
    events = np.empty((len(ids), segments), bool)
    for row, video in enumerate(ids):
        path = directory / f"{video}.zip"
        found = read_array(path).ravel()
        if found.size != segments or not ((found == 0) | (found == 1)).all():
            raise InputError(f"{path} should hold {segments} zeros and ones, one a segment, not {found.tolist()}")
        events[row] = found
    return events


def channels_last(visual: np.ndarray) -> np.ndarray:
    """Pictures `[T, H, W, Cv]` as they are, `[T, Cv, H, W]` turned: patches are as many across as down."""
    first = visual.ndim == 4 and visual.shape[1] != visual.shape[2] and visual.shape[2] == visual.shape[3]
    return visual.transpose(0, 2, 3, 1) if first else visual


def padded(sound: np.ndarray, segments: int) -> np.ndarray:
    """Sound `[t, Ca]` as `[T, Ca]`: the last of it repeated, or what is beyond cut off."""
    return sound[np.minimum(np.arange(segments), len(sound) - 1)]
