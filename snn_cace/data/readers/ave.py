"""The reader of AVE's layout (`snn_cace.data.ave`)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.labels import class_names
from snn_cace.data.readers.base import Reader
from snn_cace.errors import InputError

ARRAYS = ave.FILES | {"clip_labels": ave.CLIP_LABELS}
ARRAYS |= {f"background_{name}": file for name, file in ave.BACKGROUND_FILES.items()}
"""The file of each array."""


class AveReader(Reader):
    """A directory in AVE's layout.

    HDF5 files are opened by the process that reads them, on its first read: handles cross neither fork nor spawn.
    """

    def __init__(self, config: DataConfig) -> None:
        assert config.directory is not None, "else it is AV-Digits"
        self.directory = Path(config.directory)
        self.layout = ave.read_layout(self.directory)
        self._opened: dict[str, h5py.Dataset] = {}
        self._owner = 0

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": {}, "_owner": 0}

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        if self._owner != os.getpid():
            self._opened, self._owner = {}, os.getpid()
        if name not in self._opened:
            self._opened[name] = ave.find_dataset(self.source(name))
        return ave.read_rows(self._opened[name], rows, self.source(name))

    def scan(self, name: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The file is read once from its beginning to its end, in large pieces where half of their rows are wanted."""
        path = self.source(name)
        with ave.opened(path) as dataset:
            for chunk in ave.row_chunks(dataset):
                first, last = np.searchsorted(rows, (chunk.start, chunk.stop))
                wanted = rows[first:last]
                if 2 * len(wanted) < chunk.stop - chunk.start:
                    yield slice(first, last), ave.read_rows(dataset, wanted, path)
                else:
                    yield slice(first, last), ave.read_values(dataset, chunk, path)[wanted - chunk.start]

    def source(self, name: str, row: int | None = None) -> Path:
        return self.directory / ARRAYS[name] if name in ARRAYS else ave.order_path(self.directory, name)

    def class_names(self) -> list[str]:
        return class_names(self.directory, self.layout.classes)

    def clip_labels(self) -> np.ndarray | None:
        """Labels of clips `[N, C + 1]`, background last; None in a directory that has none.

        Raises:
            InputError: of another shape than its other files, or a clip without a class.
        """
        path, want = self.source("clip_labels"), (self.layout.clips, self.layout.classes + 1)
        if not path.is_file():
            return None
        labels = ave.read_labels(path)
        if labels.shape != want:
            raise InputError(f"{path} has shape {list(labels.shape)}, expected {list(want)}, background last")
        without = np.flatnonzero(((labels != 0) & (labels != 1)).any(1) | (labels.sum(1) <= 0))
        if without.size:
            row = without[0]
            raise InputError(
                f"{path}: each clip needs one class or more, as ones among zeros; row {row} has {labels[row].tolist()}"
            )
        return labels

    def has_clip_labels(self) -> bool:
        return self.clip_labels() is not None

    def background_clips(self) -> int:
        clips = {}
        for name, file in ave.BACKGROUND_FILES.items():
            path, want = self.directory / file, list(self.layout.row_shape(name))
            with ave.opened(path) as dataset:
                clips[name], *shape = dataset.shape or (0,)
            if shape != want or not clips[name]:
                raise InputError(f"{path} holds clips of shape {shape}, those of {ave.FILES[name]} have {want}")
        if clips["visual"] != clips["audio"]:
            raise InputError(
                f"{self.directory}: {ave.BACKGROUND_FILES['visual']} has {clips['visual']} clips, "
                f"{ave.BACKGROUND_FILES['audio']} {clips['audio']}; they must be the same"
            )
        return clips["visual"]

    def recordings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        path = self.directory / ave.RECORDINGS
        if not path.is_file():
            return {}
        try:
            with np.load(path) as stored:
                return {kind: stored[kind][rows] for kind in stored.files}
        except (OSError, ValueError, IndexError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} does not say which recordings each row holds: {error}; remove it") from None

    def encoder_macs(self) -> dict[str, float] | None:
        path = self.directory / ave.EXTRACTION
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8")).get("encoder_macs_per_clip")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path} is not what extract wrote: {error}; extract again, or remove it") from None

    def row_counts(self) -> dict[str, int]:
        found = {}
        for name in ARRAYS:
            if self.source(name).is_file():
                with ave.opened(self.source(name)) as dataset:
                    found[name] = len(dataset)
        return found
