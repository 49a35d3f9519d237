"""What an epoch of reading costs by where clips are kept, and by how their file is chunked."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import torch

from snn_cace.benchmark.machine import Sizes
from snn_cace.benchmark.steps import write_clips
from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.batches import ClipData

ROWS = 16
"""Rows of a large chunk."""
CHUNKINGS: dict[str, dict[str, Any]] = {
    "in one piece": {},
    "a row a chunk, gzip": {"rows": 1, "compression": "gzip"},
    f"{ROWS} rows a chunk, gzip": {"rows": ROWS, "compression": "gzip"},
}
PLACES = ("memory", "mapped", "disk")


def reading(sizes: Sizes, count: int, batch: int) -> dict[str, dict[str, dict[str, float]]]:
    """By chunking and place: seconds to read all clips once, and then of an epoch in random order, without training."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_clips(root, sizes, count)
        whole = root / ave.FILES["visual"]
        kept = whole.rename(root / "visual.h5")
        for chunking, options in CHUNKINGS.items():
            rewrite(kept, whole, **options)
            found[chunking] = {place: one_epoch(directory, place, batch) for place in PLACES}
            whole.unlink()
    return found


def rewrite(source: Path, target: Path, rows: int | None = None, compression: str | None = None) -> None:
    """The data set of `source` anew, in chunks of so many rows."""
    name = ave.DATASET_NAMES[0]
    with h5py.File(source) as given, h5py.File(target, "w") as made:
        values = given[name][()]
        chunks = None if rows is None else (min(rows, len(values)), *values.shape[1:])
        made.create_dataset(name, data=values, chunks=chunks, compression=compression)


def one_epoch(directory: str, place: Any, batch: int) -> dict[str, float]:
    started = time.perf_counter()
    data = ClipData(DataConfig(directory=directory, batch_size=batch, keep_in=place), torch.float32)
    loader = data.batches(data.dataset("train"), shuffled=True)
    read = time.perf_counter()
    for _ in loader:
        pass
    return {"read_seconds": read - started, "epoch_seconds": time.perf_counter() - read}
