"""The reader of AVE's layout (`snn_cace.data.ave`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch

from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.labels import class_names
from snn_cace.data.placement import allocate
from snn_cace.data.readers.base import Reader
from snn_cace.errors import InputError

ARRAYS = ave.FILES | {"clip_labels": ave.CLIP_LABELS}
ARRAYS |= {f"background_{name}": file for name, file in ave.BACKGROUND_FILES.items()}
"""The file of each array."""


class DecodedRows:
    """The rows of a dataset that keeps several in a chunk, each chunk decoded once, whatever the order of reading.

    They lie in an unnamed file of the cache directory, which goes with the process; without room there, every read
    decodes its chunk.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.dataset, self.path = dataset, path
        self.done = np.zeros(len(dataset), bool)
        self.values: np.ndarray | None
        try:
            flat = allocate((dataset.size * dataset.dtype.itemsize,), torch.uint8, "mapped", torch.device("cpu"))
            self.values = flat.numpy().view(dataset.dtype.newbyteorder("=")).reshape(dataset.shape)
        except InputError:
            self.values = None

    def read(self, row: int) -> np.ndarray:
        """One row; an InputError where its chunk cannot be read."""
        if self.values is None:
            return ave.read_values(self.dataset, row, self.path)
        if not self.done[row]:
            first = row - row % self.dataset.chunks[0]
            chunk = slice(first, min(first + self.dataset.chunks[0], len(self.dataset)))
            self.values[chunk] = ave.read_values(self.dataset, chunk, self.path)
            self.done[chunk] = True
        return self.values[row]


class AveReader(Reader):
    """A directory in AVE's layout.

    HDF5 files are opened by the process that reads them, on its first read: handles cross neither fork nor spawn.
    """

    def __init__(self, config: DataConfig) -> None:
        assert config.directory is not None, "else it is AV-Digits"
        self.directory = Path(config.directory)
        self.layout = ave.read_layout(self.directory)
        self._files: dict[str, h5py.File] = {}
        self._decoded: dict[str, DecodedRows] = {}
        self._owner = 0

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}, "_decoded": {}, "_owner": 0}

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        path, dataset = self.source(name), self._dataset(name)
        read: Callable[[int], np.ndarray] = partial(ave.read_values, dataset, path=path)
        if dataset.chunks and dataset.chunks[0] > 1:
            if name not in self._decoded:
                self._decoded[name] = DecodedRows(dataset, path)
            read = self._decoded[name].read
        values = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype.newbyteorder("="))
        for position, row in enumerate(rows):
            values[position] = read(int(row))
        return values

    def scan(self, name: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The file is read once from its beginning to its end in large pieces, however it is chunked."""
        path = self.source(name)
        with ave.opened(path) as dataset:
            for chunk in ave.row_chunks(dataset):
                first, last = np.searchsorted(rows, (chunk.start, chunk.stop))
                yield slice(first, last), ave.read_some(dataset, chunk, rows[first:last], path)

    def source(self, name: str, row: int | None = None) -> Path:
        return self.directory / ARRAYS[name] if name in ARRAYS else ave.order_path(self.directory, name)

    def class_names(self) -> list[str]:
        return class_names(self.directory, self.layout.classes)

    def has_clip_labels(self) -> bool:
        return ave.read_clip_labels(self.directory, self.layout) is not None

    def background_clips(self) -> int:
        return ave.background_clips(self.directory, self.layout)

    def recordings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return ave.shared_recordings(self.directory, rows)

    def encoder_macs(self) -> dict[str, float] | None:
        return ave.encoder_macs(self.directory)

    def fingerprint(self) -> str:
        return ave.fingerprint(self.directory)

    def _dataset(self, name: str) -> h5py.Dataset:
        if self._owner != os.getpid():
            self._files, self._decoded, self._owner = {}, {}, os.getpid()
        if name not in self._files:
            self._files[name] = ave.find_dataset(self.source(name)).file
        file = self._files[name]
        return next(file[candidate] for candidate in ave.DATASET_NAMES if candidate in file)
